"""A gateway over real stores, fed by hand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from tapelab.api.app import create_app
from tapelab.api.auth import Sessions
from tapelab.api.channels import Hub
from tapelab.api.deps import Deps
from tapelab.api.experiments import EventLog, ExperimentsBoard
from tapelab.api.gateway import Gateway
from tapelab.api.letters import DeadLetters
from tapelab.api.live import Live
from tapelab.api.metrics import ApiMetrics
from tapelab.api.service import Server, listen, run_until_stopped, url_of
from tapelab.api.settings import ApiSettings
from tapelab.api.status import StatusBoard
from tapelab.common.clock import ManualClock, SystemClock
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import Pair, Pipeline
from tapelab.common.runtime.stage import Record
from tapelab.common.storage.halts import Halts
from tapelab.common.storage.jobs import Jobs
from tapelab.common.storage.registry import Registry

TOKEN = "a-token-that-nobody-guesses"


class FakeReader:
    """Gives records that a test puts in."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Sequence[Record]] = asyncio.Queue()
        self.failure: Exception | None = None
        self.restarts = 0

    async def __aenter__(self) -> FakeReader:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Nothing to close."""

    async def poll(self, timeout_s: float = 0.2, max_records: int = 5000) -> list[Record]:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        try:
            async with asyncio.timeout(0.05):
                return list(await self.queue.get())
        except TimeoutError:
            return []

    async def lag(self) -> int:
        return sum(len(records) for records in self.queue._queue)  # type: ignore[attr-defined]


class Rig:
    """Everything of one gateway, with what a test looks at."""

    def __init__(self, deps: Deps, sent: list[tuple[str, str, bytes]]) -> None:
        self.deps = deps
        self.sent = sent
        self.reader = FakeReader()
        self.letters: list[Record] = []
        self.readiness: list[str | None] = []
        self.app = create_app(deps)
        self.gateway = Gateway(
            deps,
            ApiMetrics(CollectorRegistry()),
            lambda: self.reader,
            lambda reason: self.readiness.append(reason),
            DeadLetters(deps.live, self.send_letter),
        )

    def take(self, records: Sequence[Record]) -> None:
        self.gateway.take(records)

    async def send_letter(self, topic: str, key: str, value: bytes, *, partition: int | None, headers: Any) -> None:
        self.letters.append(Record(topic, partition or 0, len(self.letters), key.encode(), value, tuple(headers)))

    def client(self, base_url: str = "http://127.0.0.1:8800", **options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=base_url, **options)

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The gateway on a real port, with its background work."""
        stopping = asyncio.Event()
        listener = listen(ApiSettings(host="127.0.0.1", port=0))
        running = asyncio.create_task(run_until_stopped(stopping, Server(self.app), listener, self.gateway))
        try:
            yield url_of(listener)
        finally:
            stopping.set()
            await running


def build(pool: Any, redis: Any, folder: Path, repository: Path, clock: Any, **settings: Any) -> Rig:
    """A gateway over the repository's instruments and two live bar specifications."""
    instruments = load_instruments(repository / "config")
    pipeline = Pipeline(bars=("tick:50", "volume:2000"), features=(Pair(bars="tick:50", feature_set="core"),))
    jobs, live, hub = Jobs(pool, clock), Live(pipeline, clock.now_ns()), Hub("epoch-1")
    sent: list[tuple[str, str, bytes]] = []

    async def send(topic: str, key: str, value: bytes) -> None:
        sent.append((topic, key, value))

    own = ApiSettings(page_dir=str(folder / "out"), **settings)
    log = logging.getLogger("tapelab.api")
    return Rig(
        Deps(
            settings=own,
            namespace="",
            clock=clock,
            log=log,
            instruments=instruments,
            pipeline=pipeline,
            pool=pool,
            redis=redis,
            jobs=jobs,
            registry=Registry(pool, redis, clock),
            halts=Halts(pool, redis),
            live=live,
            hub=hub,
            status=StatusBoard(live, instruments, pool, redis, clock, lambda: (True, "fine"), own.service_addresses),
            experiments=ExperimentsBoard(jobs, hub),
            events=EventLog(jobs, send, log),
            sessions=Sessions(own.token, clock),
        ),
        sent,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_763_560_000_000_000_000)


@pytest.fixture
def rig(pool, redis_client, tmp_path, repository, clock) -> Rig:
    """An open gateway on loopback, its time moved by hand."""
    return build(pool, redis_client, tmp_path, repository, clock)


@pytest.fixture
def live_rig(pool, redis_client, tmp_path, repository) -> Rig:
    """An open gateway on the machine's clock."""
    return build(pool, redis_client, tmp_path, repository, SystemClock())


@pytest.fixture
def locked(pool, redis_client, tmp_path, repository, clock) -> Rig:
    """A gateway that demands a login."""
    return build(pool, redis_client, tmp_path, repository, clock, token=TOKEN)


@pytest.fixture
async def http(rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client() as client:
        yield client


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The body of an error, after checking that it is one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert {"code", "title", "expected", "actual", "remedy"} <= body.keys()
    return body
