"""Ingest and the tick sink through the outages of what they depend on."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy

from tapelab.common import topics
from tapelab.common.clock import ManualClock, SystemClock
from tapelab.common.codec import decode
from tapelab.common.runtime.kafka import create_topics
from tapelab.common.runtime.outage import Outage, Stopped
from tapelab.common.runtime.reader import read_topic
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.storage.postgres import is_away
from tapelab.common.storage.redis import connect
from tapelab.common.storage.streams import sink_marks
from tapelab.ingest import sink
from tapelab.ingest.app import ingest_main
from tapelab.ingest.lanes import FLAT_OUT_ROWS
from tapelab.ingest.replay import Replay
from tapelab.ingest.sink import Table
from tapelab.ingest.status import RELEASE_KEY, Bulletin, ReplayStatus
from tapelab.quant.ticks import Ticks
from tests.common.sources.tapes import simulated
from tests.fixtures_broker import Broker
from tests.services.ingest.wire import CONFIG, Board, Wire, lanes

LOG = logging.getLogger("tapelab.test")


async def wait_until(reached: Callable[[], Awaitable[bool]], timeout_s: float = 40) -> None:
    async with asyncio.timeout(timeout_s):
        while not await reached():
            await asyncio.sleep(0.05)


async def test_the_sink_waits_for_its_database_and_writes_each_print_once(pool: Any) -> None:
    """The connection breaks before the transaction, then after its commit: nobody knows, so the marks are asked."""
    clock = ManualClock()
    wire = Wire(clock)
    await Replay(
        simulated(days=1), lanes(wire, clock, "p"), Board(), clock, asyncio.Event(), cut_ns=None, speed=None  # type: ignore[arg-type]
    ).run()  # fmt: skip
    breaking = _Breaking(pool, ["before", "after"])
    table = Table(breaking, Outage("postgres", clock, LOG), {})  # type: ignore[arg-type]
    started_ns = clock.monotonic_ns()
    for start in range(0, len(wire.records), 50):
        await table.take(wire.records[start : start + 50])
    assert breaking.left == []
    assert clock.monotonic_ns() > started_ns  # it paused
    expected = sum(batch.n for batch in wire.batches())
    assert await pool.fetchval("SELECT count(*) FROM ticks_raw") == expected
    assert sum((await sink_marks(pool)).values()) == expected


async def test_a_database_that_hangs_is_an_outage_and_the_batch_is_written_once(pool: Any) -> None:
    """The statement ran into its time limit: the sink is not ready, asks for the marks again, and goes on."""
    clock = ManualClock()
    wire = Wire(clock)
    await Replay(
        simulated(days=1), lanes(wire, clock, "p"), Board(), clock, asyncio.Event(), cut_ns=None, speed=None  # type: ignore[arg-type]
    ).run()  # fmt: skip
    ctx = ServiceContext("sink", Broker(Path()).settings, {}, clock=clock)
    shown: list[tuple[bool, str]] = []
    hanging = _Hanging(pool, lambda: shown.append(ctx.readiness))
    ctx.ready()
    await Table(hanging, Outage("postgres", clock, LOG, ctx), {}).take(wire.records[:50])  # type: ignore[arg-type]
    assert not shown[-1][0]
    assert "waiting for PostgreSQL" in shown[-1][1]
    assert ctx.readiness[0]
    assert sum((await sink_marks(pool)).values()) == await pool.fetchval("SELECT count(*) FROM ticks_raw") > 0


@pytest.mark.timeout(60)
async def test_a_database_that_stops_reading_in_the_middle_of_a_copy_is_an_outage(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the statement and then no more of its rows: nothing comes back, not even an end of the connection."""
    monkeypatch.setattr(sink, "STATEMENT_S", 1.0)
    clock = ManualClock()
    wire = Wire(clock)
    await Replay(
        simulated(days=2), lanes(wire, clock, "p"), Board(), clock, asyncio.Event(), cut_ns=None, speed=None  # type: ignore[arg-type]
    ).run()  # fmt: skip
    frozen: list[int] = []
    copy = PoolConnectionProxy.copy_to_table

    async def freeze_and_copy(conn: Any, *args: Any, **options: Any) -> Any:
        # Its process waits for the next command of the transaction now, and so holds nothing that others need.
        pid = await conn.fetchval("SELECT pg_backend_pid()")
        await asyncio.sleep(0.1)
        monkeypatch.setattr(PoolConnectionProxy, "copy_to_table", copy)
        frozen.append(pid)
        os.kill(pid, signal.SIGSTOP)
        return await copy(conn, *args, **options)

    monkeypatch.setattr(PoolConnectionProxy, "copy_to_table", freeze_and_copy)
    try:
        await Table(pool, Outage("postgres", clock, LOG), {}).take(wire.records)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert frozen
    expected = sum(batch.n for batch in wire.batches())
    assert await pool.fetchval("SELECT count(*) FROM ticks_raw") == expected
    assert sum((await sink_marks(pool)).values()) == expected


class _Hanging:
    """A pool whose first transaction is committed and then said to have timed out."""

    def __init__(self, pool: Any, asked: Callable[[], None]) -> None:
        self._pool = pool
        self._asked = asked
        self._left = 1

    def acquire(self) -> Any:
        self._left -= 1
        return _Silent(self._pool.acquire()) if self._left == 0 else self._pool.acquire()

    async def fetch(self, *query: Any) -> Any:
        self._asked()
        return await self._pool.fetch(*query)


class _Silent:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aenter__(self) -> Any:
        return await self._inner.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self._inner.__aexit__(*error)
        raise TimeoutError


class _Breaking:
    """A pool whose next connections break before or after a commit."""

    def __init__(self, pool: Any, left: list[str]) -> None:
        self._pool = pool
        self.left = left

    def acquire(self) -> Any:
        return _Acquired(self._pool.acquire(), self.left.pop(0) if self.left else "")

    async def fetch(self, *query: Any) -> Any:
        return await self._pool.fetch(*query)


class _Acquired:
    def __init__(self, inner: Any, breaks: str) -> None:
        self._inner = inner
        self._breaks = breaks

    async def __aenter__(self) -> Any:
        if self._breaks == "before":
            raise ConnectionRefusedError(111, "refused")
        return await self._inner.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self._inner.__aexit__(*error)
        if self._breaks == "after":
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (ConnectionRefusedError(111, "refused"), True),
        (FileNotFoundError(2, "no socket"), True),
        (asyncpg.CannotConnectNowError("starting up"), True),
        (asyncpg.DiskFullError("no space left"), True),
        (asyncpg.AdminShutdownError("terminating"), True),
        (TimeoutError(), True),
        (asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"), True),
        (OSError(28, "No space left on device"), False),
        (FileNotFoundError(2, "no file", "model.txt"), False),
        (asyncpg.UndefinedColumnError("no such column"), False),
        (asyncpg.InterfaceError("another operation is in progress"), False),
    ],
)
def test_what_counts_as_an_outage_of_the_database(error: BaseException, away: bool) -> None:
    assert is_away(error) is away


async def test_waiting_ends_when_the_service_is_told_to_stop() -> None:
    ctx = ServiceContext("x", Broker(Path()).settings, {}, clock=ManualClock())
    outage = Outage("postgres", ctx.clock, LOG, ctx)
    await outage.wait("gone")
    assert not ctx.readiness[0]
    ctx.stopping.set()
    with pytest.raises(Stopped):
        await outage.wait("gone")
    outage.over()
    assert "postgres" not in ctx.readiness[1]


def test_the_largest_record_fits_its_topic_many_times() -> None:
    n = FLAT_OUT_ROWS
    full = Ticks(*(column[:1].repeat(n) for column in _one_print()))
    batch = TickBatch.pack(full, symbol="S" * 64, exchange="E" * 64, stream=1, lineage="l" * 64, first_seq=0)
    (limit,) = {spec.max_message_bytes for spec in topics.ALL_TOPICS if spec.name == topics.TICKS}
    from tapelab.common.codec import encode

    assert 4 * len(encode(batch)) < limit


def _one_print() -> Ticks:
    return next(chunk.ticks for chunk in simulated(days=1).chunks())


class Ingest:
    """The service on an embedded broker, a database and a Redis."""

    def __init__(self, broker: Broker, dsn: str, redis_url: str, name: str) -> None:
        settings = broker.settings.__class__(
            **{
                **{f: getattr(broker.settings, f) for f in broker.settings.__struct_fields__},
                "postgres_dsn": dsn,
                "redis_url": redis_url,
                "namespace": name,
                "config_dir": str(CONFIG),
            }
        )
        environ = {
            "TAPELAB_INGEST_SIMULATOR": "days=2,hours=0.2",
            "TAPELAB_INGEST_CUT": "0.5",
            "TAPELAB_INGEST_SPEED": "max",
        }
        self.ctx = ServiceContext("ingest", settings, environ, clock=SystemClock())
        self.name = name
        self._redis_url = redis_url

    async def status(self) -> ReplayStatus | None:
        import msgspec

        client = connect(self._redis_url)
        try:
            raw = await client.get(f"{self.name}:tapelab:replay:status")
            return None if raw is None else msgspec.json.decode(raw, type=ReplayStatus)
        finally:
            await client.aclose()

    async def until(self, state: str, restarts: int = 0) -> ReplayStatus:
        async def reached() -> bool:
            status = await self.status()
            return status is not None and status.state == state and status.restarts == restarts

        await wait_until(reached)
        status = await self.status()
        assert status is not None
        return status

    async def release(self, run: str) -> None:
        client = connect(self._redis_url)
        await client.set(f"{self.name}:tapelab:{RELEASE_KEY}", run)
        await client.aclose()

    async def published(self) -> dict[tuple[str, int], int]:
        """Prints per (symbol, stream) on the topic, contiguous from 0."""
        counts: dict[tuple[str, int], int] = {}
        for record in await read_topic(self.ctx.settings, topics.TICKS):
            batch: TickBatch = decode(topics.TICKS, record.value)
            who = batch.symbol, batch.stream
            assert batch.first_seq <= counts.get(who, 0)
            counts[who] = max(counts.get(who, 0), batch.first_seq + batch.n)
        return counts


@pytest.fixture
async def ingest(broker: Broker, empty_database: str, redis_url: str, redis_client: Any) -> Ingest:
    made = Ingest(broker, empty_database, redis_url, "outages")
    await create_topics(made.ctx.settings, topics.ALL_TOPICS)
    return made


async def test_a_lost_log_begins_new_streams_and_needs_no_second_release(ingest: Ingest, broker: Broker) -> None:
    running = asyncio.create_task(ingest_main(ingest.ctx))
    try:
        first = await ingest.until("waiting")
        await ingest.release(first.run)
        done = await ingest.until("done")
        whole = await ingest.published()
        broker.kill()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(broker.start)
        again = await ingest.until("done", restarts=1)
    finally:
        ingest.ctx.stopping.set()
        await asyncio.wait_for(running, 20)
    assert again.run == first.run
    assert again.restarted == "the broker's log is new"
    for symbol, was in done.symbols.items():
        assert again.symbols[symbol]["stream"] > was["stream"]
        assert again.symbols[symbol]["next_seq"] == was["next_seq"]
    assert sorted((await ingest.published()).values()) == sorted(whole.values())


async def test_a_broker_lost_at_the_cut_still_waits_for_its_release(ingest: Ingest, broker: Broker) -> None:
    running = asyncio.create_task(ingest_main(ingest.ctx))
    try:
        await ingest.until("waiting")
        broker.kill()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(broker.start)
        waiting = await ingest.until("waiting", restarts=1)
        await ingest.release(waiting.run)
        await ingest.until("done", restarts=1)
    finally:
        ingest.ctx.stopping.set()
        await asyncio.wait_for(running, 20)


async def test_a_run_that_was_killed_is_taken_up_where_it_was_released(redis_client: Any) -> None:
    killed = Bulletin(redis_client, "", "the run", LOG)
    status = ReplayStatus(
        state="playing_rest", run="the run", source="tape", lineage="l", cut_ts_ns=5, symbols={}, ts_event_ns=9,
        rejects=0, rejects_path=None,
    )  # fmt: skip
    await killed.publish(status)
    await redis_client.set(f"tapelab:{RELEASE_KEY}", "the run")
    after = Bulletin(redis_client, "", "another", LOG)
    assert await after.take_up("tape", "l", 5) == 9
    assert (after.run, after.restarts, await after.released()) == ("the run", 1, True)
    other = Bulletin(redis_client, "", "another", LOG)
    assert await other.take_up("another tape", "l", 5) == 0
    assert (other.run, other.restarts, await other.released()) == ("another", 0, False)
