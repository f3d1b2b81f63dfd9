"""The host of pure stages: recovery, delivery, snapshots, dead letters, metrics.

Outputs are acknowledged before input offsets are committed; a crash can only make the stage compute the
same records again, and what the output log holds already is not written twice. Recovery is the newest
snapshot, a seek to its offset, and a replay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer

from tapelab.common.errors import RecoveryError
from tapelab.common.runtime.adoption import read_adopted
from tapelab.common.runtime.halted import HaltedSymbols
from tapelab.common.runtime.kafka import new_consumer, new_producer, to_records, tp, wait_for_broker
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.partitions import PartitionOwner
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.snapshots import Snapshot, SnapshotStore
from tapelab.common.runtime.stage import Record, Stage
from tapelab.common.runtime.writer import StepWriter
from tapelab.common.topics import DLQ_SUFFIX

SNAPSHOT_EVERY_S: Final = 15.0
COMMIT_EVERY_S: Final = 1.0
#: A broker that is gone must not keep the service from stopping; recovery replays what no snapshot holds.
STOP_S: Final = 5.0
MAX_RECORDS: Final = 2000


class _Lane:
    """One partition at work."""

    def __init__(
        self, partition: int, stage: Stage, writer: StepWriter, halted: HaltedSymbols, offsets: dict[str, int]
    ) -> None:
        self.partition = partition
        self.stage = stage
        self.writer = writer
        self.halted = halted
        self.offsets = offsets
        self.number = 0
        self.dirty = False  # progressed since the last snapshot


class Host:
    """Runs one pure stage over the partitions this process owns, until it is told to stop.

    Args:
        stage_name: names the consumer group, the state topic and the hop's header.
        input_topics: read with the same partition number each.
        output_topics: what the stage writes to.
        stage_factory: makes the stage of a partition.
        ctx: the service's context.
    """

    def __init__(
        self,
        stage_name: str,
        input_topics: Sequence[str],
        output_topics: Sequence[str],
        stage_factory: Callable[[int], Stage],
        ctx: ServiceContext,
    ) -> None:
        self._name = stage_name
        self._inputs = tuple(input_topics)
        self._outputs = (*output_topics, *(t + DLQ_SUFFIX for t in input_topics))
        self._factory = stage_factory
        self._ctx = ctx
        self._settings = ctx.settings
        self._metrics = StageMetrics(stage_name, ctx.registry)
        self._snapshots = SnapshotStore(stage_name, ctx.settings)
        self._producer = new_producer(ctx.settings)
        self._owner = PartitionOwner(ctx.settings, stage_name, self._inputs, self._gained, self._lost)
        self._lanes: dict[int, _Lane] = {}
        self._committed_ns = 0
        self._snapshot_ns = 0

    async def run(self) -> None:
        """Work until ``ctx.stopping`` is set.

        Raises:
            RecoveryError: the state cannot be continued from.
            KafkaError: a send failed; the process must be restarted, and recovers.
        """
        if self._settings.broker_kind == "embedded":
            self._ctx.log.warning(
                "the embedded broker has neither idempotent producers nor a durable log: service kills are survived, "
                "a broker restart begins new streams; use BROKER=kafka for long runs"
            )
        try:
            await wait_for_broker(self._settings)
            await self._producer.start()
            await self._owner.start()
            await self._loop()
        finally:
            await self._owner.stop()
            await self._producer.stop()

    async def _loop(self) -> None:
        clock = self._ctx.clock
        self._snapshot_ns = self._committed_ns = clock.monotonic_ns()
        self._ctx.ready()
        while not self._ctx.stopping.is_set():
            generation = self._owner.generation
            got = await self._owner.consumer.getmany(timeout_ms=200, max_records=MAX_RECORDS)
            if self._owner.failure is not None:
                raise self._owner.failure
            async with self._owner.lock:
                if self._owner.generation != generation:
                    continue
                for where, messages in got.items():
                    lane = self._lanes.get(where.partition)
                    if lane is not None:
                        await self._work(lane, to_records(self._settings, messages))
                now_ns = clock.monotonic_ns()
                if now_ns - self._committed_ns >= COMMIT_EVERY_S * 1e9:
                    self._committed_ns = now_ns
                    await self._commit(self._lanes.values())
                if now_ns - self._snapshot_ns >= SNAPSHOT_EVERY_S * 1e9:
                    self._snapshot_ns = now_ns
                    for lane in self._lanes.values():
                        await self._snapshot(lane)
        try:
            async with asyncio.timeout(STOP_S), self._owner.lock:
                for lane in self._lanes.values():
                    await self._snapshot(lane)
                await self._commit(self._lanes.values())
        except TimeoutError:
            self._ctx.log.warning(f"stopping without a last snapshot: the broker did not take it within {STOP_S:g} s")

    async def _work(self, lane: _Lane, records: list[Record]) -> None:
        # A rebalance may hand out a partition again with records of before its seek still on the way.
        records = [r for r in records if r.offset >= lane.offsets[r.topic]]
        if not records:
            return
        started = self._ctx.clock.monotonic_ns()
        step = lane.stage.process(records)
        futures = await lane.writer.write(self._producer, records, step)
        await lane.writer.acknowledged(futures)
        for record in records:
            lane.offsets[record.topic] = record.offset + 1
        lane.dirty = True
        lane.halted.update(step)
        for topic in self._inputs:
            highwater = self._owner.consumer.highwater(tp(self._settings, topic, lane.partition))
            self._metrics.lag(lane.partition, max(0, (highwater or 0) - lane.offsets[topic]))
        self._metrics.batch.observe((self._ctx.clock.monotonic_ns() - started) / 1e9)

    async def _gained(self, partitions: Sequence[int]) -> None:
        started = self._ctx.clock.monotonic_ns()
        helper = new_consumer(self._settings)
        await helper.start()
        try:
            topics = (*self._inputs, *self._outputs, self._snapshots.topic)
            helper.assign([tp(self._settings, t, p) for t in topics for p in partitions])
            for partition in partitions:
                self._lanes[partition] = await self._recover(helper, partition)
        finally:
            await helper.stop()
        took = (self._ctx.clock.monotonic_ns() - started) / 1e9
        self._metrics.recovery.set(took)
        self._ctx.log.info(
            "partitions gained",
            extra={
                "fields": {
                    "partitions": list(partitions),
                    "offsets": {p: self._lanes[p].offsets for p in partitions},
                    "recovery_s": round(took, 3),
                }
            },
        )

    async def _recover(self, helper: AIOKafkaConsumer, partition: int) -> _Lane:
        snapshot = await self._snapshots.newest(helper, partition)
        stage = self._factory(partition)
        if snapshot is not None:
            try:
                stage.restore(snapshot.state)
            except RecoveryError as error:
                # Another configuration: its lineages are new, so they are computed from the log's start;
                # whatever has not changed is found in the output and not written again.
                self._ctx.log.warning(f"starting from the log's start: {error}")
                snapshot, stage = None, self._factory(partition)
        offsets = await self._owner.seek(partition, None if snapshot is None else snapshot.offsets)
        writer = StepWriter(self._name, self._settings, self._ctx.clock, self._metrics, partition)
        since = {} if snapshot is None else snapshot.output_ends
        writer.adopted, writer.output_ends = await read_adopted(
            helper, self._settings, self._name, self._outputs, partition, since
        )
        halted = HaltedSymbols(partition, self._metrics, self._ctx.log)
        lane = _Lane(partition, stage, writer, halted, offsets)
        lane.number = 0 if snapshot is None else snapshot.number + 1
        return lane

    async def _lost(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            lane = self._lanes.pop(partition, None)
            if lane is not None:
                await self._snapshot(lane)
                await self._commit([lane])

    async def _snapshot(self, lane: _Lane) -> None:
        if not lane.dirty:
            return
        started_ns = self._ctx.clock.monotonic_ns()
        state = lane.stage.snapshot()
        snapshot = Snapshot(
            offsets=dict(lane.offsets), output_ends=dict(lane.writer.output_ends), state=state, number=lane.number
        )
        await (await self._snapshots.write(self._producer, lane.partition, snapshot))
        lane.number += 1
        lane.dirty = False
        self._metrics.snapshot(lane.partition, len(state), (self._ctx.clock.monotonic_ns() - started_ns) / 1e9)

    async def _commit(self, lanes: Iterable[_Lane]) -> None:
        offsets = {
            tp(self._settings, topic, lane.partition): offset
            for lane in lanes
            for topic, offset in lane.offsets.items()
        }
        await self._owner.commit(offsets)
