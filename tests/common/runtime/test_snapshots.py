"""Which snapshot recovery begins from."""

from __future__ import annotations

import msgspec
import pytest

from tapelab.common import topics
from tapelab.common.runtime.kafka import create_topics, new_consumer, tp
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.snapshots import Found, Snapshot, SnapshotStore, Unreadable
from tests.fixtures_broker import Broker


async def candidates(broker: Broker, written: dict[str, bytes | Snapshot]) -> tuple[list[Found], list[Unreadable]]:
    """What a store finds after these records were written in order."""
    settings, topic = broker.settings, topics.state_topic("bars")
    await create_topics(settings, topics.ALL_TOPICS)
    async with Publisher(settings) as publisher:
        for key, value in written.items():
            raw = value if isinstance(value, bytes) else msgspec.msgpack.encode(value)
            await (await publisher.send(topic, key, raw, partition=0))
    consumer = new_consumer(settings)
    await consumer.start()
    try:
        consumer.assign([tp(settings, topic, 0)])
        return await SnapshotStore("bars", settings).candidates(consumer, 0)
    finally:
        await consumer.stop()


def snapshot(offset: int, batch_end: int | None = None) -> Snapshot:
    return Snapshot(
        offsets={"in": offset},
        output_ends={},
        state=b"%d" % offset,
        batch_end={} if batch_end is None else {"in": batch_end},
    )


@pytest.mark.slow
async def test_the_snapshot_furthest_into_the_input_counts_whoever_wrote_last(broker: Broker) -> None:
    """A zombie that wakes late writes an old state after its successor's newer one."""
    found, unreadable = await candidates(
        broker, {"bars/0/0": snapshot(70), "bars/0/1": snapshot(90), "bars/0/2": snapshot(80), "bars/1/0": snapshot(99)}
    )
    assert [one.snapshot.state for one in found] == [b"90", b"80", b"70"]
    assert unreadable == []


@pytest.mark.slow
async def test_a_record_that_is_no_snapshot_is_named_and_left_out(broker: Broker) -> None:
    found, unreadable = await candidates(broker, {"bars/0/0": snapshot(70), "bars/0/1": b"\xc1 garbage"})
    assert [one.snapshot.state for one in found] == [b"70"]
    assert [one.offset for one in unreadable] == [1]
    assert "bars.state.v1[0]@1 cannot be read" in unreadable[0].message


def test_a_deciding_stage_reaches_as_far_as_its_last_batch() -> None:
    assert snapshot(10, batch_end=30).reach > snapshot(20, batch_end=25).reach
