"""Where batches are transactions, a recovery writes nothing of the last one, whatever a new release makes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from tapelab.common import topics
from tapelab.common.runtime.decision_host import DecisionHost
from tapelab.common.runtime.kafka import create_topics
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.runtime.stage import Record, Step
from tapelab.common.settings import CommonSettings, load
from tests.common.runtime.test_decision_host import Deciding, OneContext
from tests.common.runtime.test_outage import context, outputs, publish, until
from tests.fixtures_kafka import Broker

pytestmark = pytest.mark.slow


class Twice(Deciding):
    """Another release's rules: it numbers every record twice."""

    def process(self, records: Sequence[Record]) -> Step:
        first, second = super().process(records), super().process(records)
        return first._replace(outputs=[*first.outputs, *second.outputs])


async def _decide(settings: CommonSettings, stage: type[Deciding], first: int, end: int, expected: int) -> list[int]:
    """Decide some records with a host of its own; what is in the log afterwards."""
    ctx = context(settings)
    host = DecisionHost(
        "inference", topics.BARS, (topics.FEATURES,), lambda _: stage(), OneContext(b"only"), ctx, batch_ms=20
    )
    task = asyncio.create_task(host.run())
    try:
        await until("ready", lambda: ctx.readiness[0])
        if first < end:
            await publish(settings, range(first, end))
        return [bar for bar, _ in await outputs(settings, expected)]
    finally:
        ctx.stopping.set()
        await asyncio.wait([task], timeout=15)


async def test_a_release_with_other_rules_writes_nothing_of_a_batch_that_readers_have_had(
    apache_kafka: Broker, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load(CommonSettings, {**apache_kafka.environ, "TAPELAB_NAMESPACE": namespace, "TAPELAB_PARTITIONS": "1"})
    await create_topics(settings, topics.ALL_TOPICS)
    assert await _decide(settings, Deciding, 0, 3, 3) == [0, 1, 2]
    with caplog.at_level(logging.INFO):
        assert await _decide(settings, Twice, 3, 3, 3) == [0, 1, 2]
        assert "records that the log does not hold; they are not written" in caplog.text
        caplog.clear()
        # The rules that wrote the batch find all of it, and go on.
        assert await _decide(settings, Deciding, 3, 5, 5) == [0, 1, 2, 3, 4]
        assert "they are not written" not in caplog.text


async def test_commit_markers_are_not_counted_as_records_still_to_be_read(apache_kafka: Broker, namespace: str) -> None:
    settings = load(CommonSettings, {**apache_kafka.environ, "TAPELAB_NAMESPACE": namespace, "TAPELAB_PARTITIONS": "1"})
    await create_topics(settings, topics.ALL_TOPICS)
    await _decide(settings, Deciding, 0, 3, 3)
    read = 0
    async with TopicReader(settings, [topics.FEATURES], start="earliest") as reader, asyncio.timeout(60):
        assert await reader.lag() > 3
        while await reader.lag() > 0:
            read += len(await reader.poll())
    assert read == 3
