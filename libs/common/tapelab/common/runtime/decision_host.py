"""The host of the deciding stage: micro-batches, one model call, one transaction.

Records of all owned partitions are collected for a short window and scored with one call. For each
partition a state record (the state before the batch, the batch's offsets, the context it was decided
under), the outputs and the input offsets are written: on Apache Kafka as one transaction, on the embedded
broker in this order, each acknowledged before the next. Recovery restores the state before the last
batch, decides that batch again under the recorded context (never under what Redis says now), and writes
what the log does not hold yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tapelab.common.errors import RecoveryError, TapelabError
from tapelab.common.runtime.adoption import read_adopted
from tapelab.common.runtime.capabilities import capabilities, say_what_lacks
from tapelab.common.runtime.closing import close_consumer, close_producer
from tapelab.common.runtime.halted import HaltedSymbols
from tapelab.common.runtime.kafka import (
    CLIENT_TIMEOUT_S,
    ensure_topics,
    new_consumer,
    new_producer,
    read_range,
    to_records,
    tp,
)
from tapelab.common.runtime.log_age import LogAge
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.partitions import PartitionOwner
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.sessions import Sessions
from tapelab.common.runtime.snapshots import Snapshot, SnapshotStore
from tapelab.common.runtime.stage import DecisionStage, Record, Scorer
from tapelab.common.runtime.writer import StepWriter
from tapelab.common.topics import DLQ_SUFFIX, qualified

CONTEXT_EVERY_S = 0.2
MAX_RECORDS = 4096


class _Lane:
    """One partition at work."""

    def __init__(
        self,
        partition: int,
        stage: DecisionStage,
        writer: StepWriter,
        halted: HaltedSymbols,
        producer: AIOKafkaProducer,
        offset: int,
    ) -> None:
        self.partition = partition
        self.stage = stage
        self.writer = writer
        self.halted = halted
        self.producer = producer
        self.offset = offset
        self.number = 0


class DecisionHost:
    """Runs one deciding stage over the partitions this process owns, until it is told to stop.

    Args:
        stage_name: names the consumer group, the state topic, the transactions and the hop's header.
        input_topic: what is decided on.
        output_topics: what the stage writes to.
        stage_factory: makes the stage of a partition.
        scorer: scores the vectors of all partitions at once and says under which context.
        batch_ms: how long records are collected before they are decided.
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
        self._metrics = StageMetrics(stage_name, ctx.registry)
        self._snapshots = SnapshotStore(stage_name, ctx.settings)
        self._sessions = Sessions(ctx, self._session)
        self._log_age = LogAge(ctx.settings, ctx.log)
        self._lanes: dict[int, _Lane] = {}
        self._said: list[int] | None = None
        self._context = b""

    async def run(self) -> None:
        """Work until ``ctx.stopping`` is set.

        Raises:
            RecoveryError: the state cannot be continued from.
        """
        say_what_lacks(self._settings, self._ctx.log)
        self._context = await self._scorer.context()
        await self._scorer.prepare(self._context)
        follow = asyncio.create_task(self._follow_context())
        # Without it the service would go on under old models and halts: its failure ends the service.
        follow.add_done_callback(lambda _: self._ctx.stopping.set())
        try:
            await self._sessions.run()
        finally:
            if follow.done():
                follow.result()
            follow.cancel()
            await asyncio.gather(follow, return_exceptions=True)

    async def _session(self) -> None:
        topics = (self._input, *self._outputs, self._snapshots.topic)
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            self._log_age.created(await ensure_topics(self._settings, topics))
        self._lanes, self._said = {}, None
        self._owner = PartitionOwner(self._settings, self._name, (self._input,), self._gained, self._lost)
        clean = False
        try:
            await self._owner.start()
            await self._loop()
            clean = True
        finally:
            lanes = list(self._lanes.values())
            self._log_age.remember({tp(self._settings, self._input, lane.partition): lane.offset for lane in lanes})
            await asyncio.gather(self._owner.stop(lost=not clean), *(close_producer(lane.producer) for lane in lanes))

    async def _follow_context(self) -> None:
        """Load what a new context names off the hot path; it holds from the next micro-batch on."""
        refused = b""
        while True:
            await self._ctx.clock.sleep(CONTEXT_EVERY_S)
            context = await self._scorer.context()
            if context in (self._context, refused):
                continue
            try:
                await self._scorer.prepare(context)
            except TapelabError as error:
                refused = context
                self._ctx.log.error(f"staying with the models in use: {error}")
                continue
            self._context = context

    async def _loop(self) -> None:
        while not self._ctx.stopping.is_set():
            self._say_ready()
            generation = self._owner.generation
            batch = await self._collect()
            if self._owner.failure is not None:
                raise self._owner.failure
            async with self._owner.lock:
                if self._owner.generation != generation:
                    # Read before or after the new lanes' seeks, nobody knows: read it again.
                    for owned in self._lanes.values():
                        self._owner.return_to(owned.partition, {self._input: owned.offset})
                    continue
                work: list[tuple[_Lane, list[Record]]] = []
                for partition, records in sorted(batch.items()):
                    lane = self._lanes.get(partition)
                    fresh = [r for r in records if lane is not None and r.offset >= lane.offset]
                    if lane is not None and fresh:
                        work.append((lane, fresh))
                if work:
                    await self._work(work)

    async def _collect(self) -> dict[int, list[Record]]:
        """Records of one micro-batch: a window that opens with its first record, or a full batch."""
        clock = self._ctx.clock
        batch: dict[int, list[Record]] = {}
        count, opened, deadline = 0, 0, 0
        while not self._ctx.stopping.is_set() and count < MAX_RECORDS:
            left_ms = (deadline - clock.monotonic_ns()) // 1_000_000 if deadline else 200
            if deadline and left_ms <= 0:
                break
            got = await self._owner.consumer.getmany(timeout_ms=int(left_ms), max_records=MAX_RECORDS - count)
            for where, messages in got.items():
                batch.setdefault(where.partition, []).extend(to_records(self._settings, messages))
                count += len(messages)
            if not got and not deadline:
                break
            if not deadline:
                opened = clock.monotonic_ns()
                deadline = opened + self._batch_ms * 1_000_000
        if deadline:
            self._metrics.window.observe((clock.monotonic_ns() - opened) / 1e9)
        return batch

    async def _work(self, work: Sequence[tuple[_Lane, list[Record]]]) -> None:
        started = self._ctx.clock.monotonic_ns()
        context = self._context
        before = [lane.stage.snapshot() for lane, _ in work]
        admitted = [lane.stage.admit(records) for lane, records in work]
        scores = self._scorer.score(context, admitted)
        for (lane, records), state, vectors, score in zip(work, before, admitted, scores, strict=True):
            step = lane.stage.decide(vectors, score, context)
            end = records[-1].offset + 1
            snapshot = Snapshot(
                offsets={self._input: lane.offset},
                batch_end={self._input: end},
                output_ends=dict(lane.writer.output_ends),
                state=state,
                context=context,
                number=lane.number,
            )
            await self._write(lane, records, step, snapshot, end)
            lane.number += 1
            lane.offset = end
            lane.halted.update(step)
            highwater = self._owner.consumer.highwater(tp(self._settings, self._input, lane.partition))
            self._metrics.lag(lane.partition, max(0, (highwater or 0) - end))
            self._metrics.snapshot(lane.partition, len(state), (self._ctx.clock.monotonic_ns() - started) / 1e9)
        self._metrics.batch.observe((self._ctx.clock.monotonic_ns() - started) / 1e9)

    async def _write(self, lane: _Lane, records: Sequence[Record], step: Any, snapshot: Snapshot, end: int) -> None:
        where = tp(self._settings, self._input, lane.partition)
        if self._transactions:
            # Not the client's context manager: on a failure it aborts, which waits for a broker that may be gone.
            # Whoever owns the partition next fences this producer, and that aborts what it left open.
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await lane.producer.begin_transaction()
                await self._snapshots.write(lane.producer, lane.partition, snapshot)
                futures = await lane.writer.write(lane.producer, records, step)
                await lane.producer.send_offsets_to_transaction(
                    {where: end}, qualified(self._settings.namespace, self._name)
                )
                await lane.producer.commit_transaction()
            await lane.writer.acknowledged(futures)
            return
        await (await self._snapshots.write(lane.producer, lane.partition, snapshot))
        await lane.writer.acknowledged(await lane.writer.write(lane.producer, records, step))
        await self._owner.commit({where: end})

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
            topics = (self._input, *self._outputs, self._snapshots.topic)
            for partition in partitions:
                # Fence first: a zombie's open transaction is aborted before anything is read.
                producer = new_producer(
                    self._settings,
                    transactional_id=qualified(self._settings.namespace, f"{self._name}/{partition}"),
                )
                try:
                    async with asyncio.timeout(CLIENT_TIMEOUT_S):
                        await producer.start()
                    helper.assign([tp(self._settings, t, partition) for t in topics])
                    self._lanes[partition] = await self._recover(helper, partition, producer)
                except BaseException:
                    await close_producer(producer)
                    raise
        finally:
            await close_consumer(helper)
        took = (self._ctx.clock.monotonic_ns() - started) / 1e9
        self._metrics.recovery.set(took)
        offsets = {p: self._lanes[p].offset for p in partitions}
        self._ctx.log.info(
            "partitions gained",
            extra={"fields": {"partitions": list(partitions), "offsets": offsets, "recovery_s": round(took, 3)}},
        )

    async def _recover(self, helper: AIOKafkaConsumer, partition: int, producer: AIOKafkaProducer) -> _Lane:
        snapshot = await self._newest(helper, partition)
        await self._log_age.check(helper, (self._input,), partition)
        stage = self._factory(partition)
        writer = StepWriter(self._name, self._settings, self._ctx.clock, self._metrics, partition)
        halted = HaltedSymbols(partition, self._metrics, self._ctx.log)
        since = {} if snapshot is None else snapshot.output_ends
        writer.adopted, writer.output_ends = await read_adopted(
            helper, self._settings, self._name, self._outputs, partition, since
        )
        if snapshot is None:
            offsets = await self._owner.seek(helper, partition, None)
            return _Lane(partition, stage, writer, halted, producer, offsets[self._input])
        stage.restore(snapshot.state)
        await self._owner.seek(helper, partition, snapshot.offsets)
        lane = _Lane(partition, stage, writer, halted, producer, snapshot.offsets[self._input])
        lane.number = snapshot.number + 1
        end = snapshot.batch_end[self._input]
        records = await read_range(helper, self._settings, self._input, partition, lane.offset, end)
        if records:
            await self._scorer.prepare(snapshot.context)
            vectors = stage.admit(records)
            step = stage.decide(vectors, self._scorer.score(snapshot.context, [vectors])[0], snapshot.context)
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                if self._transactions:
                    await producer.begin_transaction()
                futures = await writer.write(producer, records, step)
                if self._transactions:
                    await producer.commit_transaction()
            await writer.acknowledged(futures)
            lane.halted.update(step)
        lane.offset = end
        self._owner.consumer.seek(tp(self._settings, self._input, partition), end)
        return lane

    async def _newest(self, helper: AIOKafkaConsumer, partition: int) -> Snapshot | None:
        """The state record of the last batch.

        Raises:
            RecoveryError: it cannot be read. Without it nobody knows under which models and halts the signals
                after it were decided, so no older one will do.
        """
        found, unreadable = await self._snapshots.candidates(helper, partition)
        for one in unreadable:
            if not found or one.offset > found[0].offset:
                raise RecoveryError(
                    "the state of the last decisions cannot be read",
                    expected="the record that says under which models and halts they were made",
                    actual=one.message,
                    remedy="go back to the release that wrote it, or start under a new TAPELAB_NAMESPACE",
                )
            self._ctx.log.warning(f"not needed, a newer one is there: {one.message}")
        return found[0].snapshot if found else None

    async def _lost(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            lane = self._lanes.pop(partition, None)
            if lane is not None:
                await close_producer(lane.producer)
