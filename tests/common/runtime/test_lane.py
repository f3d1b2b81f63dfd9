"""A lane delivers, remembers and stays within its bounds, whatever the broker does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import pytest

from tapelab.common import topics
from tapelab.common.clock import Clock, ManualClock
from tapelab.common.codec import decode
from tapelab.common.runtime import inbox, lane
from tapelab.common.runtime.adoption import Adopted
from tapelab.common.runtime.compute import Compute
from tapelab.common.runtime.halted import HaltedSymbols
from tapelab.common.runtime.headers import origin_offset
from tapelab.common.runtime.inbox import Inbox
from tapelab.common.runtime.lane import Lane
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.snapshots import Snapshot, SnapshotStore
from tapelab.common.runtime.stage import Record
from tapelab.common.runtime.writer import StepWriter
from tapelab.common.settings import CommonSettings
from tests.common.runtime.test_outage import Counting, until


class Sent(NamedTuple):
    topic: str
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Metadata(NamedTuple):
    topic: str
    offset: int


class FakeBatch:
    """Takes two records, however large."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, Sequence[tuple[str, bytes]]]] = []

    def append(
        self, *, timestamp: int | None, key: bytes | None, value: bytes, headers: Sequence[Any]
    ) -> object | None:
        if len(self.taken) == 2:
            return None
        self.taken.append((value, headers))
        return object()

    def close(self) -> None:
        """Nothing is added after this."""

    def record_count(self) -> int:
        return len(self.taken)


class FakeProducer:
    """Acknowledges when ``open`` is set."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begin = 0

    async def send(self, topic: str, value: bytes, *, headers: Sequence[Any] = (), **_: Any) -> asyncio.Future[Any]:
        self.sent.append(Sent(topic, value, headers))
        return asyncio.ensure_future(self._acknowledge(topic, len(self.sent) - 1))

    def create_batch(self) -> FakeBatch:
        return FakeBatch()

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        first = self.begin + sum(s.topic == topic for s in self.sent)
        self.sent += [Sent(topic, value, headers) for value, headers in batch.taken]
        return asyncio.ensure_future(self._acknowledge(topic, first))

    async def _acknowledge(self, topic: str, offset: int) -> Metadata:
        await self.open.wait()
        return Metadata(topic, offset)

    def outputs(self) -> list[tuple[int, int]]:
        found = [decode(s.topic, s.value) for s in self.sent if s.topic == topics.FEATURES]
        return [(vector.bar_seq, vector.seq) for vector in found]

    def snapshots(self) -> list[Snapshot]:
        return [msgspec.msgpack.decode(s.value, type=Snapshot) for s in self.sent if s.topic == "bars.state.v1"]


def records(first: int, end: int, symbol: str = "AAA") -> list[Record]:
    return [Record(topics.BARS, 0, n, symbol.encode(), b"%d" % n) for n in range(first, end)]


@asynccontextmanager
async def working(
    producer: FakeProducer,
    stage: Any = None,
    *,
    adopted: Sequence[Record] = (),
    until: Mapping[str, int] | None = None,
    begin: int = 0,
    compute: Compute | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Lane]:
    ctx = ServiceContext("lane", CommonSettings(), {}, clock=clock)
    metrics = StageMetrics("bars", ctx.registry)
    compute = compute or Compute("lane")
    writer = StepWriter("bars", ctx.settings, ctx.clock, metrics, 0)
    found = Adopted()
    found.learn("bars", adopted)
    writer.adopt(found, {topics.FEATURES: len(adopted)}, {}, until or {})
    producer.begin = len(adopted)
    made = Lane(
        0,
        stage or Counting(),
        writer,
        HaltedSymbols(0, metrics, ctx.log),
        {topics.BARS: begin},
        0,
        ctx=ctx,
        compute=compute,
        metrics=metrics,
        snapshots=SnapshotStore("bars", ctx.settings),
        producer=producer,
        on_room=lambda: None,
    )
    task = asyncio.create_task(made.run())
    try:
        yield made
        made.finish()
        producer.open.set()
        await asyncio.wait_for(task, 10)
    finally:
        task.cancel()
        compute.close()


async def test_offsets_and_snapshots_wait_for_what_came_before_them() -> None:
    producer = FakeProducer()
    producer.open.clear()
    async with working(producer) as made:
        made.put(records(0, 3))
        await until("outputs are sent", lambda: len(producer.sent) == 3)
        await asyncio.sleep(0.05)
        assert made.offsets == {topics.BARS: 0}
        producer.open.set()
        await until("offsets move", lambda: made.offsets == {topics.BARS: 3})
    assert [one.offsets for one in producer.snapshots()] == [{topics.BARS: 3}]
    assert [one.state for one in producer.snapshots()] == [b"3"]


async def test_a_slow_broker_bounds_what_is_computed_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "STEP_RECORDS", 1)
    producer = FakeProducer()
    producer.open.clear()
    async with working(producer) as made:
        made.put(records(0, 100))
        await asyncio.sleep(0.3)
        assert len(producer.sent) <= lane.IN_FLIGHT + 2
    assert producer.outputs() == [(n, n) for n in range(100)]


async def test_catching_up_takes_snapshots_by_the_work_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SNAPSHOT_EVERY_BUSY_S", 0.0)
    monkeypatch.setattr(lane, "SNAPSHOT_COST", 0)
    monkeypatch.setattr(inbox, "CHUNK_RECORDS", 10)
    producer = FakeProducer()
    async with working(producer) as made:
        made.put(records(0, 30))
        await until("the last state", lambda: [s.state for s in producer.snapshots()][-1:] == [b"30"])
    assert producer.snapshots()[0].offsets == {topics.BARS: 10}
    assert producer.snapshots()[-1].offsets == {topics.BARS: 30}
    assert [one.number for one in producer.snapshots()] == [*range(len(producer.snapshots()))]


class Slow(Counting):
    """Packs its state when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.frozen = 0

    def freeze(self) -> Callable[[], bytes]:
        state = super().freeze()
        self.frozen += 1

        def pack() -> bytes:
            self.go.wait(60)
            return state()

        return pack


async def test_a_lane_works_on_while_its_snapshot_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Slow()
    monkeypatch.setattr(lane, "SNAPSHOT_EVERY_BUSY_S", 0.0)
    monkeypatch.setattr(lane, "SNAPSHOT_COST", 0)
    monkeypatch.setattr(inbox, "CHUNK_RECORDS", 10)
    producer = FakeProducer()
    async with working(producer, stage) as made:
        made.put(records(0, 30))
        await until("all is worked on", lambda: made.offsets == {topics.BARS: 30})
        assert producer.snapshots() == []
        stage.go.set()
        await until("snapshots", lambda: len(producer.snapshots()) == 2)
        first, second = producer.snapshots()
        assert (first.state, first.offsets[topics.BARS], first.number) == (b"10", 10, 0)
        assert (second.state, second.offsets[topics.BARS], second.number) == (b"30", 30, 1)


async def test_one_lane_of_a_process_saves_its_state_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SNAPSHOT_EVERY_BUSY_S", 0.0)
    compute, first, second = Compute("lanes"), Slow(), Slow()
    producers = FakeProducer(), FakeProducer()
    async with (
        working(producers[0], first, compute=compute) as one,
        working(producers[1], second, compute=compute) as two,
    ):
        one.put(records(0, 3))
        await until("the first is frozen", lambda: first.frozen == 1)
        two.put(records(0, 3))
        await until("the second has worked", lambda: two.offsets == {topics.BARS: 3})
        await asyncio.sleep(0.3)
        assert second.frozen == 0
        first.go.set()
        second.go.set()
        await until("both are saved", lambda: all(p.snapshots() for p in producers))


async def test_a_lane_that_is_to_end_writes_what_is_being_packed_and_then_its_last_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lane, "SNAPSHOT_EVERY_BUSY_S", 0.0)
    monkeypatch.setattr(inbox, "CHUNK_RECORDS", 10)
    producer, stage = FakeProducer(), Slow()
    async with working(producer, stage) as made:
        made.put(records(0, 30))
        await until("all is worked on", lambda: made.offsets == {topics.BARS: 30})
        made.finish()
        await asyncio.sleep(0.05)
        stage.go.set()
    assert [(one.state, one.number) for one in producer.snapshots()] == [(b"10", 0), (b"30", 1)]


async def test_a_state_that_cannot_be_packed_ends_the_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SNAPSHOT_EVERY_BUSY_S", 0.0)

    class Broken(Counting):
        def freeze(self) -> Callable[[], bytes]:
            def pack() -> bytes:
                raise ValueError("no room")

            return pack

    compute = Compute("lane")

    async def work() -> None:
        async with working(FakeProducer(), Broken(), compute=compute) as made:
            made.put(records(0, 3))
            await until("its turn is over", lambda: made.offsets == {topics.BARS: 3} and not compute.saving.locked())

    with pytest.raises(ExceptionGroup) as raised:
        await work()
    assert raised.group_contains(ValueError, match="no room")
    assert not compute.saving.locked()


async def test_short_steps_are_computed_in_the_loop_and_long_ones_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "_FORGET", 0.93)
    clock = ManualClock()

    class Where(Counting):
        took_s = 0.0
        steps: list[tuple[bool, int]]

        def process(self, records: Sequence[Record]) -> Any:
            self.steps.append((threading.current_thread() is threading.main_thread(), len(records)))
            clock.advance(self.took_s * len(records))
            return super().process(records)

    stage = Where()
    async with working(FakeProducer(), stage, clock=clock) as made:

        async def work(count: int, took_s: float) -> list[tuple[bool, int]]:
            stage.steps, stage.took_s = [], took_s
            end = made.offsets[topics.BARS] + count
            made.put(records(end - count, end))
            await until("all is done", lambda: made.offsets == {topics.BARS: end})
            return stage.steps

        assert await work(200, 0.0) == [(False, 200)]  # nobody knows how long it will take
        assert await work(200, 0.0) == [(True, 200)]
        await work(200, 0.002)
        # 128 ms for the least of a step: not in the loop.
        assert await work(200, 0.002) == [(False, 64), (False, 64), (False, 64), (False, 8)]
        await work(1536, 0.0)
        # Fast again, but many would hold it for long should they get slow once more.
        assert await work(200, 0.0) == [(False, 200)]
        assert await work(64, 0.0) == [(True, 64)]
        for _ in range(20):
            await work(1, 0.0)
        assert await work(200, 0.0) == [(True, 200)]  # forgotten


async def test_an_output_too_large_for_its_topic_sends_its_input_to_the_dead_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "tapelab.common.runtime.writer.limit_of", lambda topic: 400 if topic == topics.FEATURES else 9999
    )

    class Bloated(Counting):
        def process(self, records: Sequence[Record]) -> Any:
            step = super().process(records)
            step.outputs[1] = step.outputs[1]._replace(
                record=msgspec.structs.replace(step.outputs[1].record, values=bytes(500))
            )
            return step

    producer = FakeProducer()
    async with working(producer, Bloated()) as made:
        made.put(records(0, 3))
        await until("offsets move", lambda: made.offsets == {topics.BARS: 3})
    assert [bar for bar, _ in producer.outputs()] == [0, 2]
    (letter,) = [s for s in producer.sent if s.topic == topics.BARS + topics.DLQ_SUFFIX]
    assert letter.value == b"1"
    assert origin_offset(letter.headers, "bars") == 1
    assert b"too large: expected 400 bytes, got" in dict(letter.headers)["dlq-reason"]


async def test_a_snapshot_too_large_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lane, "limit_of", lambda _: 65_536)
    producer = FakeProducer()
    async with working(producer) as made:
        made.put(records(0, 3))
        await until("offsets move", lambda: made.offsets == {topics.BARS: 3})
    assert producer.snapshots() == []
    assert "the snapshot of partition 0 is not written: expected at most 65536 bytes" in caplog.text


async def test_an_inbox_asks_for_a_pause_and_says_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "FULL_BYTES", 1000)
    monkeypatch.setattr(inbox, "CHUNK_RECORDS", 4)
    room: list[int] = []
    box = Inbox(lambda: room.append(1))
    box.put(records(0, 10))
    assert not box.full
    box.put(records(10, 16))
    assert box.full
    assert [r.offset for r in await box.take(None)] == [0, 1, 2, 3]
    assert box.full
    assert room == []
    await box.take(None)
    await box.take(None)
    assert not box.full
    assert room == [1]
    assert len(await box.take(None)) == 4
    assert await box.take(0.01) == []


async def test_a_second_crash_finds_again_what_the_first_one_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SNAPSHOT_EVERY_BUSY_S", 0.0)
    monkeypatch.setattr(inbox, "CHUNK_RECORDS", 10)
    first = FakeProducer()
    async with working(first) as made:
        made.put(records(0, 30))
        await until("outputs", lambda: len(first.outputs()) == 30)
    log = [Record(topics.FEATURES, 0, n, None, s.value) for n, s in enumerate(_features(first))]
    # The first crash left these outputs and no snapshot; the second one comes while they are computed again.
    second = FakeProducer()
    async with working(second, adopted=log, until={topics.BARS: 30}) as made:
        made.put(records(0, 10))
        await until("a snapshot", lambda: len(second.snapshots()) == 1)
    (snapshot, *_) = second.snapshots()
    assert (second.outputs(), snapshot.offsets, snapshot.output_ends) == ([], {topics.BARS: 10}, {})
    third = FakeProducer()
    stage = Counting()
    stage.restore(snapshot.state)
    async with working(third, stage, adopted=log, until={topics.BARS: 30}, begin=10) as made:
        made.put(records(10, 40))
        await until("the end", lambda: made.offsets == {topics.BARS: 40})
    assert [bar for bar, _ in third.outputs()] == list(range(30, 40))
    assert third.snapshots()[-1].output_ends == {topics.FEATURES: 40}, "all of it was met"


def _features(producer: FakeProducer) -> list[Sent]:
    return [s for s in producer.sent if s.topic == topics.FEATURES]
