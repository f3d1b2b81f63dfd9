"""``tapelab experiments`` over a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from typer.testing import CliRunner

from tapelab.cli.commands import connect, experiments
from tapelab.common.clock import SystemClock
from tapelab.common.errors import RegistryError
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.jobs import Jobs
from tapelab.common.storage.postgres import apply_schema, create_pool

NAME = "test_cli_experiments"


@pytest.fixture
def dsn(postgres_dsn: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the commands' own, which they take for the stack's."""

    async def make() -> None:
        admin = await asyncpg.connect(postgres_dsn)
        await admin.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {NAME}")
        await admin.close()

    asyncio.run(make())
    own = urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{NAME}"))
    settings = CommonSettings(postgres_dsn=own, redis_url=redis_url)
    monkeypatch.setattr(connect, "stack_settings", lambda: settings)
    with_jobs(own, lambda jobs: jobs.list())
    return own


def with_jobs(dsn: str, work: Callable[[Jobs], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with await create_pool(dsn) as pool:
            await apply_schema(pool)
            return await work(Jobs(pool, SystemClock()))

    return asyncio.run(run())


def tapelab(*words: str) -> str:
    done = CliRunner().invoke(experiments.app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_experiments_are_listed_shown_and_stopped(dsn: str) -> None:
    assert "no experiment yet" in tapelab("list")
    made = with_jobs(dsn, lambda jobs: jobs.create({"name": "first"}, "first"))
    (item,) = json.loads(tapelab("list", "--json"))
    assert (item["id"], item["status"], item["created_ns"]) == (made.id, "queued", str(made.created_ns))
    assert "first" in tapelab("list")
    assert tapelab("stop", made.id, "--reason", "wrong tape") == f"stopped {made.id} (first): wrong tape\n"
    shown = json.loads(tapelab("show", made.id, "--json"))
    assert (shown["status"], shown["config"], shown["error"]) == ("stopped", {"name": "first"}, "wrong tape")
    assert [event["data"] for event in shown["events"]] == [{"status": "stopped", "reason": "wrong tape"}]
    assert json.loads(tapelab("show", made.id)) == shown
    with pytest.raises(RegistryError, match="has ended"):
        tapelab("stop", made.id)


def test_an_experiment_that_there_is_not_is_one_clear_error(dsn: str) -> None:
    for words in (("show", "exp-9"), ("stop", "exp-9")):
        with pytest.raises(RegistryError, match="no such experiment"):
            tapelab(*words)
