"""Where a local stack keeps its things, and the file that says how to reach it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from tapelab.common.errors import TapelabError
from tapelab.common.settings import PREFIX, CommonSettings

#: Who asks whether a stack runs holds the lock for a moment; an owner waits that long for it to pass.
_READERS_S: Final = 0.5


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
        self.lock = root / "stack.lock"

    def make(self) -> None:
        """Create the folders."""
        for folder in (self.root, self.logs, self.artifacts, self.redis):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, stack: StackFile) -> None:
        """Say how to reach the stack; readable by its owner only, since it may hold a password."""
        handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(stack)))

    def owner(self) -> int | None:
        """Process id of the stack that runs or starts here, None where none does.

        A stack runs while its lock is held: files that a killed one left behind say nothing, and its process
        number may be another program's by now.
        """
        try:
            handle = os.open(self.lock, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            while True:
                if _lock(handle, fcntl.LOCK_SH):
                    return None
                said = os.pread(handle, 32, 0)
                if said:
                    return int(said)
                time.sleep(0.01)  # it has the lock and is about to say who it is
        finally:
            os.close(handle)

    def read(self) -> StackFile | None:
        """The stack that runs and can be reached, None where none does."""
        if self.owner() is None:
            return None
        try:
            return msgspec.json.decode(self.file.read_bytes(), type=StackFile)
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Own the run folder while a stack runs in it; the system ends that with the process, however it ends.

        Raises:
            TapelabError: another stack runs in it.
        """
        self.make()
        handle = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + _READERS_S
            while not _lock(handle, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    stack = self.read()
                    page = "still starting" if stack is None else f"page {stack.page}"
                    raise TapelabError(
                        "a stack is running already",
                        expected=f"no other 'tapelab up' in {self.root}",
                        actual=f"process {self.owner()}, {page}",
                        remedy="run 'tapelab down', or set TAPELAB_RUN_DIR to another folder",
                    )
                time.sleep(0.02)
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
            self.file.unlink(missing_ok=True)
            try:
                yield
            finally:
                self.file.unlink(missing_ok=True)
        finally:
            os.close(handle)


def _lock(handle: int, kind: int) -> bool:
    """Take a lock without waiting; whether that worked."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
