"""The host of the deciding stage: micro-batches, one model call, one transaction.

Records of all owned partitions are collected up to the next beat and scored with one call. For each
partition a state record (the state before the batch, the batch's offsets, the context it was decided
under), the outputs and the input offsets are written: on Apache Kafka as one transaction, on the embedded
broker in this order, each acknowledged before the next. Recovery restores the state before the last
batch and decides that batch again under the recorded context (never under what Redis says now); on the
embedded broker it then writes what the log does not hold yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerFenced

from tapelab.common.errors import RecoveryError, TapelabError
from tapelab.common.runtime.adoption import read_adopted
from tapelab.common.runtime.capabilities import capabilities, say_what_lacks
from tapelab.common.runtime.closing import close_consumer, close_producer
from tapelab.common.runtime.compute import Compute
from tapelab.common.runtime.decision_lane import Decided, DecisionLane
from tapelab.common.runtime.halted import HaltedSymbols
from tapelab.common.runtime.kafka import (
    CLIENT_TIMEOUT_S,
    Unavailable,
    ensure_topics,
    new_consumer,
    new_producer,
    owned_partitions,
    read_range,
    records_behind,
    tp,
)
from tapelab.common.runtime.live_context import LiveContext
from tapelab.common.runtime.log_age import LogAge
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.micro_batch import MicroBatch, MicroBatches
from tapelab.common.runtime.partitions import PartitionOwner
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.sessions import Sessions
from tapelab.common.runtime.snapshots import Snapshot, SnapshotStore
from tapelab.common.runtime.stage import DecisionStage, Record, Scorer
from tapelab.common.runtime.writer import StepWriter
from tapelab.common.topics import DLQ_SUFFIX, qualified


class DecisionHost:
    """Runs one deciding stage over the partitions this process owns, until it is told to stop.

    Args:
        stage_name: names the consumer group, the state topic, the transactions and the hop's header.
        input_topic: what is decided on.
        output_topics: what the stage writes to.
        stage_factory: makes the stage of a partition.
        scorer: scores the vectors of all partitions at once and says under which context.
        batch_ms: from one beat to the next: records are collected up to one and then decided.
        ctx: the service's context.
    """

    def __init__(
        self,
        stage_name: str,
        input_topic: str,
        output_topics: Sequence[str],
        stage_factory: Callable[[int], DecisionStage],
        scorer: Scorer,
        ctx: ServiceContext,
        *,
        batch_ms: int,
    ) -> None:
        self._name = stage_name
        self._input = input_topic
        self._outputs = (*output_topics, input_topic + DLQ_SUFFIX)
        self._factory = stage_factory
        self._scorer = scorer
        self._ctx = ctx
        self._settings = ctx.settings
        self._transactions = capabilities(ctx.settings).transactions
        self._batch_ms = batch_ms
        self._metrics = StageMetrics(stage_name, ctx.registry, ctx.clock)
        self._snapshots = SnapshotStore(stage_name, ctx.settings)
        self._sessions = Sessions(ctx, self._session)
        self._log_age = LogAge(ctx.settings, ctx.log)
        self._compute = Compute(stage_name)
        self._context = LiveContext(scorer, ctx.clock, ctx.log)

    async def run(self) -> None:
        """Work until ``ctx.stopping`` is set.

        Raises:
            RecoveryError: the state cannot be continued from.
        """
        say_what_lacks(self._settings, self._ctx.log)
        await self._context.start()
        follow = asyncio.create_task(self._context.follow())
        # Without it the service would go on under old models and halts: its failure ends the service.
        follow.add_done_callback(lambda _: self._ctx.stopping.set())
        try:
            await self._sessions.run()
        finally:
            if follow.done():
                follow.result()
            follow.cancel()
            await asyncio.gather(follow, return_exceptions=True)
            self._compute.close()

    async def _session(self) -> None:
        topics = (self._input, *self._outputs, self._snapshots.topic)
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            self._log_age.created(await ensure_topics(self._settings, topics))
        self._lanes: dict[int, DecisionLane] = {}
        self._metrics.begin()
        self._working = asyncio.Lock()
        # One batch is decided and written while the next one is collected.
        self._batches: asyncio.Queue[MicroBatch] = asyncio.Queue(maxsize=1)
        self._owner = PartitionOwner(
            self._settings, self._name, (self._input,), self._lane_of, self._left, self._sessions.owns
        )
        clean = False
        try:
            await self._owner.start()
            async with asyncio.TaskGroup() as tasks:
                working = [tasks.create_task(work()) for work in (self._collect, self._decide, self._owner.failed)]
                await self._ctx.stopping.wait()
                working[0].cancel()
                await self._owner.give_up()
                for task in working:
                    task.cancel()
            clean = True
        finally:
            read = {tp(self._settings, self._input, lane.partition): lane.offset for lane in self._lanes.values()}
            self._log_age.remember(read)
            await self._owner.abandon()
            await self._owner.stop(lost=not clean)

    async def _collect(self) -> None:
        batches = MicroBatches(
            self._settings, self._owner, self._lanes, self._ctx.clock, self._metrics, batch_ms=self._batch_ms
        )
        while True:
            batch = await batches.next()
            if batch:
                await self._batches.put(batch)

    async def _decide(self) -> None:
        while True:
            batch = await self._batches.get()
            async with self._working:
                work = [(lane, records) for lane, records in batch.items() if not lane.finishing.is_set()]
                if work:
                    await self._work(sorted(work, key=lambda one: one[0].partition))

    async def _work(self, work: Sequence[tuple[DecisionLane, list[Record]]]) -> None:
        started = self._ctx.clock.monotonic_ns()
        decided = await self._compute.run(self._decided, work, self._context.current)
        async with asyncio.TaskGroup() as tasks:
            for one in decided:
                tasks.create_task(self._write(one))
        self._metrics.batch.observe((self._ctx.clock.monotonic_ns() - started) / 1e9)

    def _decided(self, work: Sequence[tuple[DecisionLane, list[Record]]], context: bytes) -> list[Decided]:
        """In the computing thread: all partitions' vectors are scored with one call."""
        before = [lane.stage.snapshot() for lane, _ in work]
        admitted = [lane.stage.admit(records) for lane, records in work]
        scores = self._scorer.score(context, admitted)
        decided = []
        for (lane, records), state, vectors, score in zip(work, before, admitted, scores, strict=True):
            made = lane.writer.prepare(records, lane.stage.decide(vectors, score, context))
            snapshot = Snapshot(
                offsets={self._input: lane.offset},
                batch_end={self._input: records[-1].offset + 1},
                output_ends=dict(lane.writer.output_ends),
                state=state,
                context=context,
                number=lane.number,
            )
            decided.append(Decided(lane, records, snapshot, made))
        return decided

    async def _write(self, decided: Decided, *, state: bool = True) -> None:
        started = self._ctx.clock.monotonic_ns()
        lane, end = decided.lane, decided.records[-1].offset + 1
        where = tp(self._settings, self._input, lane.partition)
        if self._transactions:
            try:
                group = qualified(self._settings.namespace, self._name)
                await lane.write_transaction(decided, where, group, state=state)
            except ProducerFenced as error:
                raise self._fenced(lane.partition) from error
        else:
            await lane.write_in_order(decided, state=state)
            await self._owner.commit({where: end})
        lane.number += 1
        lane.offset = end
        lane.halted.update(decided.records, decided.made.step)
        self._metrics.lag(lane.partition, max(0, (self._owner.consumer.highwater(where) or 0) - end))
        took_ns = self._ctx.clock.monotonic_ns() - started
        if state:
            self._metrics.snapshot(lane.partition, len(decided.snapshot.state), took_ns / 1e9)
        if self._ctx.tracing is not None:
            ended_ns = self._ctx.clock.now_ns()
            self._ctx.tracing.step(self._name, decided.records, decided.made.step, ended_ns - took_ns, ended_ns)

    async def _complete(self, again: Decided) -> None:
        """What a recovery writes of the last batch, decided again.

        With transactions that is nothing: the state record it was decided from became visible together with all
        outputs. They stand, whatever a release with other rules would make of the batch now; of a difference in
        number, which can be seen without comparing, the log is told. Elsewhere the state record comes first, so
        outputs may be missing.
        """
        if not self._transactions:
            await self._write(again, state=False)
            return
        again.lane.halted.update(again.records, again.made.step)
        if again.made.messages:
            self._ctx.log.error(
                f"partition {again.lane.partition}: decided again, the last batch gives {len(again.made.messages)} "
                "records that the log does not hold; they are not written, because readers have had the batch",
                extra={"fields": {"first": again.records[0].offset, "last": again.records[-1].offset}},
            )

    def _fenced(self, partition: int) -> TapelabError:
        """What to do when another process has taken a partition over.

        A group settles who owns it: this process asks it again. By hand nobody does, and to take the partition
        back would only make the two fence each other for ever.
        """
        by_hand = bool(owned_partitions(self._settings))
        return (RecoveryError if by_hand else Unavailable)(
            f"partition {partition} of {self._name} belongs to another process now",
            expected="to be the only one that writes its decisions",
            actual="a newer producer of the same name, or a transaction that took longer than a minute",
            remedy="let no two processes name a partition in TAPELAB_OWNED_PARTITIONS"
            if by_hand
            else "nothing is lost; the group is asked again",
        )

    async def _lane_of(self, partition: int) -> None:
        """The life of a lane: fence, recover, be worked on, be gone."""
        started = self._ctx.clock.monotonic_ns()
        # Fence first: a zombie's open transaction is aborted before anything is read.
        name = qualified(self._settings.namespace, f"{self._name}/{partition}")
        producer = new_producer(self._settings, transactional_id=name)
        try:
            self._ctx.recovering([partition])
            try:
                async with asyncio.timeout(CLIENT_TIMEOUT_S):
                    await producer.start()
                lane, behind = await self._recover(partition, producer)
            finally:
                self._ctx.recovered([partition])
            took = (self._ctx.clock.monotonic_ns() - started) / 1e9
            self._metrics.recovered(partition, took, behind)
            fields = {"partition": partition, "offset": lane.offset, "recovery_s": round(took, 3), "behind": behind}
            self._ctx.log.info("partition gained", extra={"fields": fields})
            self._lanes[partition] = lane
            self._owner.recovered(partition, lane.finishing.set)
            await lane.finishing.wait()
            async with self._working:  # a batch that has begun is written
                del self._lanes[partition]
                self._metrics.lost(partition)
        finally:
            await close_producer(producer)

    async def _left(self, partitions: Sequence[int]) -> None:
        """Offsets are committed with each batch, so there is nothing left to do."""

    async def _recover(self, partition: int, producer: AIOKafkaProducer) -> tuple[DecisionLane, int]:
        """The lane, and how many records it is behind the log's end."""
        helper = new_consumer(self._settings)
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await helper.start()
            topics = (self._input, *self._outputs, self._snapshots.topic)
            helper.assign([tp(self._settings, topic, partition) for topic in topics])
            where = tp(self._settings, self._input, partition)
            snapshot = await self._snapshots.last_decided(helper, partition, self._ctx.log)
            await self._log_age.check(helper, (self._input,), partition)
            writer = StepWriter(self._name, self._settings, self._ctx.clock, self._metrics, partition)
            writer.adopted, writer.output_ends = await read_adopted(
                self._compute,
                helper,
                self._settings,
                self._name,
                self._outputs,
                partition,
                {} if snapshot is None else snapshot.output_ends,
            )
            halted = HaltedSymbols(partition, self._metrics, self._ctx.log)
            lane = DecisionLane(partition, self._factory(partition), writer, halted, producer, self._snapshots)
            if snapshot is None:
                lane.offset = (await self._owner.seek(helper, partition, None))[self._input]
                return lane, await records_behind(helper, {where: lane.offset})
            end = snapshot.batch_end[self._input]
            lane.offset, lane.number = snapshot.offsets[self._input], snapshot.number
            await self._owner.seek(helper, partition, {self._input: end})
            behind = await records_behind(helper, {where: end})
            records = await read_range(helper, self._settings, self._input, partition, lane.offset, end)
        finally:
            await close_consumer(helper)
        await self._compute.run(lane.stage.restore, snapshot.state)
        if records:
            await self._scorer.prepare(snapshot.context)
            for again in await self._compute.run(self._decided, [(lane, records)], snapshot.context):
                await self._complete(again)
        lane.offset, lane.number = end, snapshot.number + 1
        return lane, behind
