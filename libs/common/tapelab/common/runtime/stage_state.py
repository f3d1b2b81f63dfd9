"""The state of a pure stage in a snapshot: read by the release and layout that wrote it, refused by all others.

State serves the lineages it belongs to, and a release is part of every lineage; so only within a release is it read
on, and another one computes its own from the log.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Protocol, TypeVar

import msgspec

from tapelab.common.errors import RecoveryError


class State(Protocol):
    """An array-like struct whose first field is the layout's name."""

    @property
    def schema(self) -> str:
        """The layout, ``bars/2``."""
        ...

    @property
    def release(self) -> str:
        """The release that wrote it."""
        ...


S = TypeVar("S", bound=State)


def decode_state(stage: str, schema: str, kind: type[S], blob: bytes) -> S:
    """The state in a snapshot's bytes.

    Raises:
        RecoveryError: it cannot be read, or is of another layout or release.
    """
    try:
        fields = msgspec.msgpack.decode(blob)
        found = fields[0] if isinstance(fields, list) and fields else "none"
        if found != schema:
            raise refused(stage, "is of another layout", schema, f"{found!r}")
        state = msgspec.convert(fields, kind)
    except msgspec.MsgspecError as error:
        raise refused(stage, "cannot be read", f"a snapshot of layout {schema}", str(error)) from error
    if state.release != version("tapelab"):
        raise refused(stage, "is of another release", version("tapelab"), state.release)
    return state


def refused(stage: str, what: str, expected: str, actual: str) -> RecoveryError:
    """A snapshot that a stage does not go on from."""
    return RecoveryError(
        f"{stage} snapshot {what}",
        expected=expected,
        actual=actual,
        remedy="let the stage start from the log's start: its lineages begin with the first whole day there",
    )
