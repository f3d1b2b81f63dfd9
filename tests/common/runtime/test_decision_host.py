"""The deciding host: one batch at a time, under the context it was recorded with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tapelab.common import topics
from tapelab.common.errors import RecoveryError
from tapelab.common.runtime.decision_host import DecisionHost
from tapelab.common.runtime.kafka import create_topics
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.stage import Record, Step
from tests.common.runtime.test_outage import Counting, context, outputs, publish, until
from tests.fixtures_broker import Broker

pytestmark = pytest.mark.slow


class Deciding(Counting):
    """Numbers what it decides; the score is the context's own."""

    def admit(self, records: Sequence[Record]) -> Sequence[Record]:
        return records

    def decide(self, admitted: Sequence[Record], scores: bytes, context: bytes) -> Step:
        assert scores == context
        step = self.process(admitted)
        return step._replace(counts={context.decode(): len(admitted)})

    def snapshot(self) -> bytes:
        return self.freeze()()


class OneContext:
    """A scorer whose context a test sets, and that says under which one it scored."""

    def __init__(self, context: bytes) -> None:
        self._context = context
        self.scored: list[bytes] = []

    def score(self, context: bytes, admitted: Sequence[Any]) -> list[bytes]:
        self.scored.append(context)
        return [context for _ in admitted]

    async def context(self) -> bytes:
        return self._context

    async def prepare(self, context: bytes) -> None:
        return None


@asynccontextmanager
async def deciding(ctx: ServiceContext, scorer: OneContext) -> AsyncIterator[asyncio.Task[None]]:
    host = DecisionHost("inference", topics.BARS, (topics.FEATURES,), lambda _: Deciding(), scorer, ctx, batch_ms=20)
    task = asyncio.create_task(host.run())
    try:
        yield task
    finally:
        ctx.stopping.set()
        await asyncio.wait([task], timeout=15)


async def test_the_last_batch_is_decided_again_under_its_own_context(broker: Broker) -> None:
    first, second = OneContext(b"first"), OneContext(b"second")
    await create_topics(broker.settings, topics.ALL_TOPICS)
    async with deciding(context(broker.settings), first):
        await publish(broker.settings, range(5))
        assert await outputs(broker.settings, 5) == [(n, n) for n in range(5)]
    async with deciding(context(broker.settings), second):
        await publish(broker.settings, range(5, 8))
        assert await outputs(broker.settings, 8) == [(n, n) for n in range(8)]
    assert set(first.scored) == {b"first"}
    assert second.scored[0] == b"first"
    assert set(second.scored[1:]) == {b"second"}


async def test_a_restarted_broker_is_a_new_log_and_a_fresh_stage(broker: Broker) -> None:
    ctx = context(broker.settings)
    async with deciding(ctx, OneContext(b"only")) as task:
        await until("ready", lambda: ctx.readiness[0])
        await publish(broker.settings, range(5))
        assert len(await outputs(broker.settings, 5)) == 5
        broker.kill()
        await until("not ready", lambda: not ctx.readiness[0])
        broker.start()
        await until("ready again", lambda: ctx.readiness[0])
        await publish(broker.settings, range(100, 103))
        assert await outputs(broker.settings, 3) == [(100, 0), (101, 1), (102, 2)]
        assert not task.done()


async def test_decisions_do_not_go_on_without_the_record_of_the_last_ones(broker: Broker) -> None:
    await create_topics(broker.settings, topics.ALL_TOPICS)
    async with Publisher(broker.settings) as publisher:
        await (await publisher.send(topics.state_topic("inference"), "inference/0/0", b"\xc1", partition=0))
    async with deciding(context(broker.settings), OneContext(b"only")) as task:
        await asyncio.wait([task], timeout=20)
    with pytest.raises(RecoveryError, match=r"inference\.state\.v1\[0\]@0 cannot be read"):
        task.result()
