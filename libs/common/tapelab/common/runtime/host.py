"""The host of pure stages: recovery, delivery, snapshots, dead letters, metrics.

Outputs are acknowledged before input offsets are committed; a crash can only make the stage compute the
same records again, and what the output log holds already is not written twice. Recovery is the newest
snapshot, a seek to its offset, and a replay; it begins every session with the broker, so an outage ends in
the same way as a restart of the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer

from tapelab.common.errors import RecoveryError
from tapelab.common.runtime.adoption import read_adopted
from tapelab.common.runtime.capabilities import say_what_lacks
from tapelab.common.runtime.closing import close_consumer, close_producer
from tapelab.common.runtime.halted import HaltedSymbols
from tapelab.common.runtime.kafka import CLIENT_TIMEOUT_S, ensure_topics, new_consumer, new_producer, to_records, tp
from tapelab.common.runtime.log_age import LogAge
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.partitions import PartitionOwner
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.sessions import Sessions
from tapelab.common.runtime.snapshots import Snapshot, SnapshotStore
from tapelab.common.runtime.stage import Record, Stage
from tapelab.common.runtime.writer import StepWriter
from tapelab.common.topics import DLQ_SUFFIX

SNAPSHOT_EVERY_S: Final = 15.0
COMMIT_EVERY_S: Final = 1.0
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
        self._sessions = Sessions(ctx, self._session)
        self._log_age = LogAge(ctx.settings, ctx.log)
        self._lanes: dict[int, _Lane] = {}
        self._committed_ns = 0
        self._snapshot_ns = 0
        self._said: list[int] | None = None

    async def run(self) -> None:
        """Work until ``ctx.stopping`` is set.

        Raises:
            RecoveryError: the state cannot be continued from.
        """
        say_what_lacks(self._settings, self._ctx.log)
        await self._sessions.run()

    async def _session(self) -> None:
        topics = (*self._inputs, *self._outputs, self._snapshots.topic)
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            self._log_age.created(await ensure_topics(self._settings, topics))
        self._lanes, self._said = {}, None
        self._producer = new_producer(self._settings)
        self._owner = PartitionOwner(self._settings, self._name, self._inputs, self._gained, self._lost)
        clean = False
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await self._producer.start()
            await self._owner.start()
            await self._loop()
            clean = True
        finally:
            self._log_age.remember(
                {tp(self._settings, t, x.partition): o for x in self._lanes.values() for t, o in x.offsets.items()}
            )
            await asyncio.gather(self._owner.stop(lost=not clean), close_producer(self._producer))

    async def _loop(self) -> None:
        clock = self._ctx.clock
        self._snapshot_ns = self._committed_ns = clock.monotonic_ns()
        while not self._ctx.stopping.is_set():
            self._say_ready()
            generation = self._owner.generation
            got = await self._owner.consumer.getmany(timeout_ms=200, max_records=MAX_RECORDS)
            if self._owner.failure is not None:
                raise self._owner.failure
            async with self._owner.lock:
                if self._owner.generation != generation:
                    # Read before or after the new lanes' seeks, nobody knows: read it again.
                    for owned in self._lanes.values():
                        self._owner.return_to(owned.partition, owned.offsets)
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
        async with self._owner.lock:
            for lane in self._lanes.values():
                await self._snapshot(lane)
            await self._commit(self._lanes.values())

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

    def _say_ready(self) -> None:
        """Once per change: ready when it is settled what this replica owns and all of it is recovered."""
        state = sorted(self._lanes) if self._owner.settled else None
        if state != self._said:
            self._said = state
            self._sessions.owns(state)

    async def _gained(self, partitions: Sequence[int]) -> None:
        started = self._ctx.clock.monotonic_ns()
        if not partitions:
            return
        helper = new_consumer(self._settings)
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await helper.start()
            topics = (*self._inputs, *self._outputs, self._snapshots.topic)
            helper.assign([tp(self._settings, t, p) for t in topics for p in partitions])
            for partition in partitions:
                self._lanes[partition] = await self._recover(helper, partition)
        finally:
            await close_consumer(helper)
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
        snapshot, stage = await self._restored(helper, partition)
        offsets = await self._owner.seek(helper, partition, None if snapshot is None else snapshot.offsets)
        await self._log_age.check(helper, self._inputs, partition)
        writer = StepWriter(self._name, self._settings, self._ctx.clock, self._metrics, partition)
        since = {} if snapshot is None else snapshot.output_ends
        writer.adopted, writer.output_ends = await read_adopted(
            helper, self._settings, self._name, self._outputs, partition, since
        )
        halted = HaltedSymbols(partition, self._metrics, self._ctx.log)
        lane = _Lane(partition, stage, writer, halted, offsets)
        lane.number = 0 if snapshot is None else snapshot.number + 1
        return lane

    async def _restored(self, helper: AIOKafkaConsumer, partition: int) -> tuple[Snapshot | None, Stage]:
        """The stage as of the snapshot that reaches furthest of those it can continue from."""
        found, unreadable = await self._snapshots.candidates(helper, partition)
        problems = [one.message for one in unreadable]
        for snapshot, _ in found:
            stage = self._factory(partition)
            try:
                stage.restore(snapshot.state)
            except RecoveryError as error:
                # Another configuration: its lineages are new, so they are computed from the log's start;
                # whatever has not changed is found in the output and not written again.
                problems.append(str(error))
                continue
            for problem in problems:
                self._ctx.log.warning(f"partition {partition} goes on from another snapshot: {problem}")
            return snapshot, stage
        for problem in problems:
            self._ctx.log.warning(f"partition {partition} starts from the log's start: {problem}")
        return None, self._factory(partition)

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
