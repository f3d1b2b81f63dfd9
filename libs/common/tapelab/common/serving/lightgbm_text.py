"""Is this a whole ``model.txt``? LightGBM ends the process on one that is cut off, so it is checked first."""

from __future__ import annotations

import re

from tapelab.common.serving.backend import unreadable

_SIZES = re.compile(rb"^tree_sizes=([\d ]+)$", re.MULTILINE)
_OBJECTIVE = re.compile(rb"^objective=(\w+)", re.MULTILINE)


def check_lightgbm_text(what: str, raw: bytes, *, regression: bool = False) -> None:
    """Check that its scores are what the manifest says, and that every tree is as long as the header says.

    Args:
        what: the runtime that is about to read it, for the message.
        raw: the file.
        regression: its scores are returns; else they are probabilities.

    Raises:
        ModelMismatch: not LightGBM's text, or not all of it.
    """
    if not raw.startswith(b"tree\n"):
        raise unreadable(what, raw, f"it begins with {raw[:16]!r} instead of {b'tree'!r}")
    objective = _OBJECTIVE.search(raw)
    fitting = (b"regression",) if regression else (b"binary", b"cross_entropy")
    if objective is None or objective.group(1) not in fitting:
        shown = "no objective" if objective is None else f"objective {objective.group(1).decode(errors='replace')}"
        wanted = "regression, whose scores are returns" if regression else "binary, whose scores are probabilities"
        raise unreadable(what, raw, f"it has {shown} instead of {wanted}")
    sizes = _SIZES.search(raw)
    if sizes is None:
        raise unreadable(what, raw, "it has no list of tree sizes")
    at = raw.find(b"Tree=0\n", sizes.end())
    for number, size in enumerate(int(s) for s in sizes.group(1).split()):
        if at < 0 or not raw.startswith(b"Tree=%d\n" % number, at):
            raise unreadable(what, raw, f"tree {number} is not where the header says; the file is cut off or altered")
        at += size
    if not raw.startswith(b"end of trees", at):
        raise unreadable(what, raw, "its trees do not end where the header says; the file is cut off or altered")
