"""Where a local stack keeps its things, and the file that says how to reach it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from tapelab.common.errors import TapelabError
from tapelab.common.settings import PREFIX, CommonSettings


class StackFile(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the stack that runs: written by ``tapelab up``, read by every other command."""

    pid: int
    environ: dict[str, str]
    page: str
    services: dict[str, str] = {}


class Layout:
    """Folders of a local stack under one root (``.run`` in the working directory by default)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "logs"
        self.artifacts = root / "artifacts"
        self.postgres = root / "postgres"
        self.redis = root / "redis"
        self.kafka = root / "kafka"
        self.file = root / "stack.json"

    def make(self) -> None:
        """Create the folders."""
        for folder in (self.root, self.logs, self.artifacts, self.redis):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, stack: StackFile) -> None:
        """Say how to reach the stack; readable by its owner only, since it may hold a password."""
        handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(stack)))

    def read(self) -> StackFile | None:
        """The stack that runs, None where none does."""
        try:
            stack = msgspec.json.decode(self.file.read_bytes(), type=StackFile)
        except FileNotFoundError:
            return None
        try:
            os.kill(stack.pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return stack
        return stack


def default_layout() -> Layout:
    """The layout under ``TAPELAB_RUN_DIR`` or ``.run``."""
    return Layout(Path(os.environ.get("TAPELAB_RUN_DIR", ".run")).absolute())


def stack_environ(layout: Layout) -> dict[str, str]:
    """Settings to reach a stack: the environment's own where it has any, else the running local stack's.

    Raises:
        TapelabError: neither is there.
    """
    if f"{PREFIX}BROKER" in os.environ:
        return dict(os.environ)
    stack = layout.read()
    if stack is None:
        raise TapelabError(
            "no stack is running",
            expected=f"a stack started by 'tapelab up' ({layout.file}) or TAPELAB_* settings in the environment",
            actual="neither",
            remedy="run 'make up' or 'tapelab up' first",
        )
    return {**os.environ, **stack.environ}


def without_foreign(environ: dict[str, str]) -> dict[str, str]:
    """The environment without the command line's own key, which no service knows."""
    return {k: v for k, v in environ.items() if k != f"{PREFIX}RUN_DIR"}


__all__ = ["CommonSettings", "Layout", "StackFile", "default_layout", "stack_environ", "without_foreign"]
