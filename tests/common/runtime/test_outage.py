"""A host outlives its broker: the process stays, the session ends and the next one takes all from the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from tapelab.common import topics
from tapelab.common.codec import decode
from tapelab.common.errors import ConfigError
from tapelab.common.runtime.host import Host
from tapelab.common.runtime.kafka import create_topics
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.stage import Output, Record, Step
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.settings import CommonSettings
from tests.fixtures_broker import Broker

pytestmark = pytest.mark.slow


class Counting:
    """Numbers what it reads: an output says how many records its stage had seen."""

    def __init__(self) -> None:
        self.count = 0

    def process(self, records: Sequence[Record]) -> Step:
        outputs = []
        for index, record in enumerate(records):
            symbol = (record.key or b"").decode()
            vector = FeatureVector(
                symbol=symbol,
                exchange="X",
                stream=1,
                lineage="counting",
                bar_lineage="none",
                seq=self.count,
                bar_seq=int(record.value or b"0"),
                feature_set_id="none",
                bar_spec="none",
                ts_event_ns=0,
                day=0,
                session_close_ns=0,
                ref_price=1.0,
                values=b"",
                warm=True,
                after_gap=False,
                session_end=False,
            )
            outputs.append(Output(topics.FEATURES, vector, index))
            self.count += 1
        return Step(outputs, [], {}, {})

    def freeze(self) -> Callable[[], bytes]:
        state = b"%d" % self.count
        return lambda: state

    def restore(self, blob: bytes) -> None:
        self.count = int(blob)


def context(settings: CommonSettings) -> ServiceContext:
    return ServiceContext("counting", settings, {})


@asynccontextmanager
async def running(ctx: ServiceContext) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(Host("bars", [topics.BARS], [topics.FEATURES], lambda _: Counting(), ctx).run())
    try:
        yield task
    finally:
        ctx.stopping.set()
        await asyncio.wait_for(task, 15)


async def until(what: str, true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


async def publish(settings: CommonSettings, numbers: range) -> None:
    async with Publisher(settings) as publisher:
        for number in numbers:
            await publisher.send(topics.BARS, "AAA", b"%d" % number)
        await publisher.flush()


async def outputs(settings: CommonSettings, count: int) -> list[tuple[int, int]]:
    """(bar_seq, seq) of what the stage wrote."""
    found: list[tuple[int, int]] = []
    async with TopicReader(settings, [topics.FEATURES], start="earliest") as reader:
        deadline = time.monotonic() + 20
        while len(found) < count and time.monotonic() < deadline:
            found += [(v.bar_seq, v.seq) for r in await reader.poll() for v in [decode(topics.FEATURES, r.value)]]
        found += [(v.bar_seq, v.seq) for r in await reader.poll(0.5) for v in [decode(topics.FEATURES, r.value)]]
    return found


async def test_a_restarted_broker_is_a_new_log_and_a_fresh_stage(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ctx = context(broker.settings)
    await create_topics(broker.settings, topics.ALL_TOPICS)
    async with running(ctx) as task:
        await until("ready", lambda: ctx.readiness[0])
        await publish(broker.settings, range(5))
        assert await outputs(broker.settings, 5) == [(n, n) for n in range(5)]
        broker.kill()
        await until("not ready", lambda: not ctx.readiness[0])
        assert "no broker answers" in ctx.readiness[1]
        await asyncio.sleep(1.5)
        assert not task.done()
        broker.start()
        await until("ready again", lambda: ctx.readiness[0])
        await publish(broker.settings, range(100, 103))
        assert await outputs(broker.settings, 3) == [(100, 0), (101, 1), (102, 2)]
    messages = [record.getMessage() for record in caplog.records]
    assert len([m for m in messages if "the broker is lost" in m]) == 1, messages
    assert len([m for m in messages if "working again" in m]) == 1, messages
    assert len([m for m in messages if "the broker's log is new" in m]) == 1, messages


async def test_a_service_waits_for_its_broker_and_stops_at_once_without_it(broker: Broker) -> None:
    broker.kill()
    ctx = context(broker.settings)
    async with running(ctx) as task:
        await until("said", lambda: "no broker answers" in ctx.readiness[1])
        assert not ctx.readiness[0]
        ctx.stopping.set()
        started = time.monotonic()
        await task
        assert time.monotonic() - started < 1


async def test_a_frozen_broker_is_noticed_and_does_not_keep_the_service(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapelab.common.runtime.link.PING_TIMEOUT_S", 1.0)
    ctx = context(broker.settings)
    async with running(ctx) as task:
        await until("ready", lambda: ctx.readiness[0])
        broker.freeze()
        await until("not ready", lambda: not ctx.readiness[0])
        await asyncio.sleep(2)
        ctx.stopping.set()
        started = time.monotonic()
        await task
        assert time.monotonic() - started < 4


async def test_state_and_outputs_go_on_where_the_process_is_started_again(broker: Broker) -> None:
    async with running(context(broker.settings)):
        await until("topics", lambda: True)
        await asyncio.sleep(1)
        await publish(broker.settings, range(4))
        assert len(await outputs(broker.settings, 4)) == 4
    async with running(context(broker.settings)):
        await publish(broker.settings, range(4, 6))
        assert await outputs(broker.settings, 6) == [(n, n) for n in range(6)]


async def test_what_no_waiting_mends_ends_the_service(broker: Broker) -> None:
    ctx = context(msgspec.structs.replace(broker.settings, owned_partitions="0,9"))
    host = Host("bars", [topics.BARS], [topics.FEATURES], lambda _: Counting(), ctx)
    with pytest.raises(ConfigError, match="TAPELAB_OWNED_PARTITIONS is wrong: expected numbers from 0 to 1"):
        await asyncio.wait_for(host.run(), 60)


async def test_only_the_partitions_named_by_hand_are_worked_on(broker: Broker) -> None:
    await create_topics(broker.settings, topics.ALL_TOPICS)
    ctx = context(msgspec.structs.replace(broker.settings, owned_partitions="1"))
    async with running(ctx):
        await until("ready", lambda: ctx.readiness[0])
        async with Publisher(broker.settings) as publisher:
            for partition in (0, 1):
                await (await publisher.send(topics.BARS, "AAA", b"%d" % partition, partition=partition))
        assert await outputs(broker.settings, 1) == [(1, 0)]
