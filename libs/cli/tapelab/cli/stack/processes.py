"""Child processes with a log file each, that never outlive their parent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tapelab.common.errors import TapelabError

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One process: started, watched, restarted if allowed, stopped.

    It runs in a session of its own, so that Ctrl-C reaches only the parent, which stops its children in
    order.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        *,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.restarts = 0
        self._command = list(command)
        self._environ = dict(environ)
        self._cwd = cwd
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def memory_bytes(self) -> int:
        """Resident memory; 0 where the system does not say."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def returncode(self) -> int | None:
        """Exit code once it has ended; negative is the signal that ended it."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """Start the process; its output is appended to the log file."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environ,
                cwd=self._cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    async def wait(self) -> int:
        """Wait until it ends; its exit code."""
        if self._process is None:
            return 0
        return await self._process.wait()

    async def stop(self, grace_s: float = 10.0) -> None:
        """Ask it to stop, and after the grace period make it."""
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def last_words(self) -> str:
        """The last error in the log, for a message; the last line where there is none."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-200:]
        except OSError:
            return "no log"
        for line in reversed(lines):
            try:
                entry = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(entry, dict) and entry.get("level") in ("ERROR", "CRITICAL"):
                trace = str(entry.get("traceback", "")).strip().splitlines()
                return str(entry.get("message", "")) + (f": {trace[-1]}" if trace else "")
        return lines[-1] if lines else "nothing logged"

    def failure(self) -> TapelabError:
        """What to tell a person when it ended by itself."""
        return TapelabError(
            f"service {self.name} failed (log: {self.log})",
            expected="it to keep running",
            actual=f"exit code {self.returncode}: {self.last_words()}",
            remedy="read the log file",
        )
