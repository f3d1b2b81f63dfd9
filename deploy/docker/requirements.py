"""Print what the given extras of pyproject.toml need, so that dependencies are a layer below the code.

``python requirements.py [EXTRA,EXTRA...]``; without extras, what every service needs.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(project: dict[str, object], extras: list[str]) -> list[str]:
    """Third-party requirements of the project under these extras; ``tapelab[x]`` among them means extra ``x``.

    Raises:
        SystemExit: there is no such extra.
    """
    known: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    found: set[str] = set(project["dependencies"])  # type: ignore[call-overload]
    waiting, seen = list(extras), set()
    while waiting:
        extra = waiting.pop()
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in known:
            sys.exit(f"EXTRAS names {extra!r}, expected some of {', '.join(sorted(known))}")
        for requirement in known[extra]:
            if requirement.startswith("tapelab["):
                waiting += requirement.removeprefix("tapelab[").removesuffix("]").split(",")
            else:
                found.add(requirement)
    return sorted(found)


if __name__ == "__main__":
    wanted = [extra for extra in ",".join(sys.argv[1:]).split(",") if extra]
    print("\n".join(requirements(tomllib.loads(Path("pyproject.toml").read_text())["project"], wanted)))
