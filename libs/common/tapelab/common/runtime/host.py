"""The host of pure stages: recovery, delivery, snapshots, dead letters, metrics.

Outputs are acknowledged before input offsets are committed; a crash can only make the stage compute the
same records again, and what the output log holds already is not written twice. Recovery is the newest
snapshot, a seek to its offset, and a replay; it begins every session with the broker, so an outage ends in
the same way as a restart of the process. Partitions are lanes: one that waits for its outputs holds up no
other, and is read no further until it has room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from tapelab.common.errors import RecoveryError
from tapelab.common.runtime.adoption import read_adopted
from tapelab.common.runtime.capabilities import say_what_lacks
from tapelab.common.runtime.closing import close_consumer, close_producer
from tapelab.common.runtime.compute import Compute
from tapelab.common.runtime.halted import HaltedSymbols
from tapelab.common.runtime.kafka import (
    CLIENT_TIMEOUT_S,
    ensure_topics,
    log_end,
    new_consumer,
    new_producer,
    records_behind,
    to_records,
    tp,
)
from tapelab.common.runtime.lane import Lane
from tapelab.common.runtime.log_age import LogAge
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.partitions import PartitionOwner
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.sessions import Sessions
from tapelab.common.runtime.snapshots import Snapshot, SnapshotStore
from tapelab.common.runtime.stage import Stage
from tapelab.common.runtime.writer import StepWriter
from tapelab.common.topics import DLQ_SUFFIX

COMMIT_EVERY_S: Final = 1.0
#: Records between two turns of the event loop while reading.
FETCH_RECORDS: Final = 2000
IDLE_MS: Final = 200


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
        self._metrics = StageMetrics(stage_name, ctx.registry, ctx.clock)
        self._snapshots = SnapshotStore(stage_name, ctx.settings)
        self._compute = Compute(stage_name)
        self._sessions = Sessions(ctx, self._session)
        self._log_age = LogAge(ctx.settings, ctx.log)

    async def run(self) -> None:
        """Work until ``ctx.stopping`` is set.

        Raises:
            RecoveryError: the state cannot be continued from.
        """
        say_what_lacks(self._settings, self._ctx.log)
        try:
            await self._sessions.run()
        finally:
            self._compute.close()

    async def _session(self) -> None:
        topics = (*self._inputs, *self._outputs, self._snapshots.topic)
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            self._log_age.created(await ensure_topics(self._settings, topics))
        self._lanes: dict[int, Lane] = {}
        self._metrics.begin()
        self._producer = new_producer(self._settings)
        self._owner = PartitionOwner(
            self._settings, self._name, self._inputs, self._lane_of, self._left, self._sessions.owns
        )
        clean = False
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await self._producer.start()
            await self._owner.start()
            async with asyncio.TaskGroup() as tasks:
                working = [tasks.create_task(work()) for work in (self._fetch, self._tick, self._owner.failed)]
                await self._ctx.stopping.wait()
                for task in working:
                    task.cancel()
            await self._owner.give_up()
            clean = True
        finally:
            await self._owner.abandon()
            self._log_age.remember(self._offsets())
            await asyncio.gather(self._owner.stop(lost=not clean), close_producer(self._producer))

    async def _fetch(self) -> None:
        """Hand what is read to the lanes, and stop reading for those that have enough to do."""
        while True:
            got = await self._owner.read(FETCH_RECORDS, IDLE_MS)
            for where, messages in got.items():
                lane = self._lanes.get(where.partition)
                if lane is None:
                    continue
                lane.put(to_records(self._settings, messages))
                if lane.inbox.full:
                    self._owner.pause(where.partition)
            await asyncio.sleep(0)

    async def _tick(self) -> None:
        while True:
            await self._ctx.clock.sleep(COMMIT_EVERY_S)
            await self._commit()
            for lane in self._lanes.values():
                behind = 0
                for topic, offset in lane.offsets.items():
                    highwater = self._owner.consumer.highwater(tp(self._settings, topic, lane.partition))
                    behind += max(0, (highwater or 0) - offset)
                self._metrics.lag(lane.partition, behind)
            inboxes = [lane.inbox for lane in self._lanes.values()]
            self._metrics.waiting(sum(inbox.paused for inbox in inboxes), sum(inbox.bytes for inbox in inboxes))

    async def _lane_of(self, partition: int) -> None:
        """The life of a lane: recover, work, be gone."""
        started = self._ctx.clock.monotonic_ns()
        self._ctx.recovering([partition])
        try:
            lane, behind = await self._recover(partition)
        finally:
            self._ctx.recovered([partition])
        took = (self._ctx.clock.monotonic_ns() - started) / 1e9
        self._metrics.recovered(partition, took, behind)
        fields = {"partition": partition, "offsets": lane.offsets, "recovery_s": round(took, 3), "behind": behind}
        self._ctx.log.info("partition gained", extra={"fields": fields})
        self._lanes[partition] = lane
        self._owner.recovered(partition, lane.finish)
        await lane.run()

    async def _left(self, partitions: Sequence[int]) -> None:
        """Lanes have ended and their partitions are about to go to others."""
        await self._commit()
        for partition in partitions:
            self._lanes.pop(partition, None)
            self._metrics.lost(partition)

    async def _recover(self, partition: int) -> tuple[Lane, int]:
        """The lane, and how many records it is behind the log's end."""
        helper = new_consumer(self._settings)
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await helper.start()
            topics = (*self._inputs, *self._outputs, self._snapshots.topic)
            helper.assign([tp(self._settings, topic, partition) for topic in topics])
            snapshot, stage = await self._restored(helper, partition)
            offsets = await self._owner.seek(helper, partition, None if snapshot is None else snapshot.offsets)
            await self._log_age.check(helper, self._inputs, partition)
            writer = StepWriter(self._name, self._settings, self._ctx.clock, self._metrics, partition)
            since = {} if snapshot is None else snapshot.output_ends
            adopted, ends = await read_adopted(
                self._compute, helper, self._settings, self._name, self._outputs, partition, since
            )
            # Asked after the outputs were read: none of them comes of a record behind these ends.
            until = {t: await log_end(helper, self._settings, tp(self._settings, t, partition)) for t in self._inputs}
            writer.adopt(adopted, ends, since, until)
            positions = {tp(self._settings, topic, partition): offset for topic, offset in offsets.items()}
            behind = await records_behind(helper, positions)
        finally:
            await close_consumer(helper)
        lane = Lane(
            partition,
            stage,
            writer,
            HaltedSymbols(partition, self._metrics, self._ctx.log),
            offsets,
            0 if snapshot is None else snapshot.number + 1,
            ctx=self._ctx,
            compute=self._compute,
            metrics=self._metrics,
            snapshots=self._snapshots,
            producer=self._producer,
            on_room=lambda: self._owner.resume(partition),
        )
        return lane, behind

    async def _restored(self, helper: AIOKafkaConsumer, partition: int) -> tuple[Snapshot | None, Stage]:
        """The stage as of the snapshot that reaches furthest of those it can continue from."""
        found, unreadable = await self._snapshots.candidates(helper, partition)
        problems = [one.message for one in unreadable]
        for snapshot, _ in found:
            stage = self._factory(partition)
            try:
                await self._compute.run(stage.restore, snapshot.state)
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

    def _offsets(self) -> dict[TopicPartition, int]:
        return {
            tp(self._settings, topic, lane.partition): offset
            for lane in self._lanes.values()
            for topic, offset in lane.offsets.items()
        }

    async def _commit(self) -> None:
        await self._owner.commit(self._offsets())
