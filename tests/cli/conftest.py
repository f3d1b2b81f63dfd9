"""The ``tapelab`` command in this process, and a stack that is only its storage."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tapelab.cli.main import main
from tapelab.common.storage.postgres import apply_schema

_NUMBERS = itertools.count()


class Done(NamedTuple):
    """How a command ended."""

    code: object
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path) -> Command:
    """Run ``tapelab WORDS``; no stack runs unless the test says so."""
    for name in [name for name in os.environ if name.startswith("TAPELAB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TAPELAB_RUN_DIR", str(tmp_path / "run"))

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["tapelab", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def storage(
    command: Command, monkeypatch: pytest.MonkeyPatch, postgres_dsn: str, redis_url: str, repository
) -> Iterator[str]:
    """Point the command to a PostgreSQL with the schema and nothing in it, and to a Redis; the database's address."""
    name = f"test_cli_{next(_NUMBERS)}"
    dsn = urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))

    async def admin(statement: str) -> None:
        connection = await asyncpg.connect(postgres_dsn)
        await connection.execute(statement)
        await connection.close()

    async def schema() -> None:
        async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
            await apply_schema(pool)

    asyncio.run(admin(f"CREATE DATABASE {name}"))
    asyncio.run(schema())
    for key, value in {
        "BROKER": "127.0.0.1:1",
        "POSTGRES_DSN": dsn,
        "REDIS_URL": redis_url,
        "NAMESPACE": name,
        "CONFIG_DIR": str(repository / "config"),
    }.items():
        monkeypatch.setenv(f"TAPELAB_{key}", value)
    yield dsn
    asyncio.run(admin(f"DROP DATABASE {name} WITH (FORCE)"))
