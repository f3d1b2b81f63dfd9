"""Child processes with a log file each, that never outlive their parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tapelab.cli.stack import tether
from tapelab.common.errors import TapelabError

_TETHER: Final = Path(tether.__file__)


class Child:
    """One process: started, watched, restarted if allowed, stopped.

    It runs in a session of its own, so that Ctrl-C reaches only the parent, which stops its children in
    order.

    Args:
        user: whom it runs as; None is the parent's user.
        stop_signal: what asks it to stop; on Linux it also gets it when the parent dies, however that dies.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        *,
        cwd: Path | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self.restarts = 0
        self._command = list(command)
        self._environ = dict(environ)
        self._cwd = cwd
        self._user = user
        self._stop_signal = stop_signal
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
                *(sys.executable, "-I", "-S", str(_TETHER), str(int(self._stop_signal)), str(os.getpid())),
                *(self._user or "", *self._command),
                env=self._environ,
                cwd=self._cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
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
        self._signal(self._stop_signal)
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
            f"service {self.name} failed",
            expected="it to keep running",
            actual=f"exit code {self.returncode}",
            remedy=f"its log, {self.log}, says last: {self.last_words()}",
        )
