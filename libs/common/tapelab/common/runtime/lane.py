"""One partition of a pure stage at work.

A lane takes chunks of its log from an inbox, computes them in bounded steps, and sends the outputs on while the
next step is computed. Input offsets and snapshots move only at the end of a chunk,
when everything that came of it is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaProducer

from tapelab.common.runtime.compute import SHORT_NS, Compute
from tapelab.common.runtime.fairness import turns
from tapelab.common.runtime.halted import HaltedSymbols
from tapelab.common.runtime.inbox import Inbox
from tapelab.common.runtime.kafka import CLIENT_TIMEOUT_S
from tapelab.common.runtime.limits import limit_of
from tapelab.common.runtime.loop_monitor import STALL_S
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.snapshots import Snapshot, SnapshotStore
from tapelab.common.runtime.stage import Record, Stage
from tapelab.common.runtime.writer import Prepared, Sent, StepWriter, drop

#: A step: small enough that outputs leave early and other lanes have their turn, large enough to be worth one.
STEP_RECORDS: Final = 512
STEP_BYTES: Final = 1_048_576
_STEP_LEAST: Final = 64
#: Steps whose outputs may wait for the broker while the next one is computed.
IN_FLIGHT: Final = 4
#: How old a snapshot may get while records come in ...
SNAPSHOT_EVERY_S: Final = 15.0
#: ... and how much computing time it may be behind, which is what a recovery takes to catch up with it ...
SNAPSHOT_EVERY_BUSY_S: Final = 1.0
#: ... unless taking one costs so much that it would be more than a twentieth of the work.
SNAPSHOT_COST: Final = 20
#: How long a snapshot that is due waits for another lane's at a time.
_TURN_S: Final = 0.1
#: Weight of the last step in what a record is expected to take.
_NEWEST: Final = 0.25
#: What is left of the slowest step so far at each later one.
_FORGET: Final = 0.99


class Lane:
    """Works on one partition until it is asked to finish.

    Args:
        partition: its number.
        stage: restored to ``offsets``.
        writer: knows what the output log holds already.
        halted: symbols that have stopped.
        offsets: next input offsets by topic.
        number: of its next snapshot.
        on_room: called when the inbox, once full, has room again.
    """

    def __init__(
        self,
        partition: int,
        stage: Stage,
        writer: StepWriter,
        halted: HaltedSymbols,
        offsets: dict[str, int],
        number: int,
        *,
        ctx: ServiceContext,
        compute: Compute,
        metrics: StageMetrics,
        snapshots: SnapshotStore,
        producer: AIOKafkaProducer,
        on_room: Callable[[], None],
    ) -> None:
        self.partition = partition
        self.inbox = Inbox(on_room)
        #: Next input offsets: those up to which every output is acknowledged.
        self.offsets = offsets
        self._stage = stage
        self._writer = writer
        self._halted = halted
        self._number = number
        self._ctx = ctx
        self._compute = compute
        self._metrics = metrics
        self._snapshots = snapshots
        self._producer = producer
        self._read = dict(offsets)
        self._unacknowledged: asyncio.Queue[tuple[list[Sent], dict[str, int] | None]] = asyncio.Queue(IN_FLIGHT)
        self._dirty = False
        self._too_large = False
        self._busy_ns = 0
        self._freeze_ns = self._cost_ns = 0
        self._record_ns: float | None = None  # what a record took lately, and at most lately
        self._slowest_ns = 0.0
        self._snapshot_ns = ctx.clock.monotonic_ns()
        self._saving: asyncio.Task[None] | None = None
        self._finishing = asyncio.Event()

    def put(self, records: list[Record]) -> None:
        """Take in what was read; records of before the lane's offsets are left out."""
        fresh = [r for r in records if r.offset >= self._read[r.topic]]
        for record in fresh:
            self._read[record.topic] = record.offset + 1
        self.inbox.put(fresh)

    def finish(self) -> None:
        """End after the chunk at work, with a last snapshot."""
        self._finishing.set()

    async def run(self) -> None:
        """Work until asked to finish.

        Raises:
            ExceptionGroup: a write failed; the lane must not go on.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                acknowledging = tasks.create_task(self._acknowledge())
                await self._work(tasks)
                acknowledging.cancel()
        finally:
            while not self._unacknowledged.empty():
                drop(self._unacknowledged.get_nowait()[0])

    async def _work(self, tasks: asyncio.TaskGroup) -> None:
        finishing = tasks.create_task(self._finishing.wait())
        while not self._finishing.is_set():
            taking = tasks.create_task(self.inbox.take(self._patience_s()))
            await asyncio.wait({taking, finishing}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                taking.cancel()
                break
            chunk = taking.result()
            for records in turns(chunk, self._step_records(), STEP_BYTES):
                await self._step(records)
            if chunk:
                offsets = {**self.offsets, **self._ends_of(chunk)}
                await self._unacknowledged.put(([], offsets))
            if self._snapshot_due() and not self._compute.saving.locked():
                await self._snapshot(tasks)
        await self._snapshot(tasks, last=True)
        if self._saving is not None:
            await self._saving
        finishing.cancel()

    def _step_records(self) -> int:
        """As many records as are computed in a short time, so that a step needs no thread, if that is a fair number."""
        if self._record_ns is None:
            return STEP_RECORDS
        return max(_STEP_LEAST, min(STEP_RECORDS, int(SHORT_NS / (2 * self._record_ns))))

    def _is_short(self, records: int) -> bool:
        """Whether so many records will hold the loop for a short time: as things are, and if they get slow again."""
        if self._record_ns is None or self._record_ns * records > SHORT_NS:
            return False
        return records <= _STEP_LEAST or self._slowest_ns * records <= STALL_S * 1e9

    async def _step(self, records: list[Record]) -> None:
        started = self._ctx.clock.monotonic_ns()
        made = await (self._compute.turn if self._is_short(len(records)) else self._compute.run)(self._made, records)
        self._dirty = True
        self._halted.update(records, made.step)
        sent = await self._writer.write(self._producer, records, made)
        await self._unacknowledged.put((sent, None))
        took_ns = self._ctx.clock.monotonic_ns() - started
        self._metrics.batch.observe(took_ns / 1e9)
        if self._ctx.tracing is not None:
            ended_ns = self._ctx.clock.now_ns()
            self._ctx.tracing.step(self._metrics.stage, records, made.step, ended_ns - took_ns, ended_ns)

    def _made(self, records: list[Record]) -> Prepared:
        """In the computing thread, or in the loop where it will not take long."""
        started = self._ctx.clock.monotonic_ns()
        made = self._writer.prepare(records, self._stage.process(records))
        took_ns = self._ctx.clock.monotonic_ns() - started
        self._busy_ns += took_ns
        newest = max(took_ns, 1) / len(records)  # no clock is exact enough to say that it took nothing
        self._record_ns = newest if self._record_ns is None else self._record_ns + _NEWEST * (newest - self._record_ns)
        self._slowest_ns = max(newest, _FORGET * self._slowest_ns)
        return made

    def _ends_of(self, chunk: list[Record]) -> dict[str, int]:
        ends: dict[str, int] = {}
        for record in chunk:  # in the log's order
            ends[record.topic] = record.offset + 1
        return ends

    async def _acknowledge(self) -> None:
        while True:
            sent, offsets = await self._unacknowledged.get()
            try:
                await self._writer.acknowledged(sent)
            finally:
                drop(sent)
            if offsets is not None:
                self.offsets = offsets
            self._unacknowledged.task_done()

    def _patience_s(self) -> float | None:
        """How long to wait for records: until a snapshot is due, if there is anything to put into one."""
        if not self._dirty or self._too_large:
            return None
        if self._snapshot_due():
            return _TURN_S  # another lane's is being saved
        age_ns = self._ctx.clock.monotonic_ns() - self._snapshot_ns
        return SNAPSHOT_EVERY_S - age_ns / 1e9

    def _snapshot_due(self) -> bool:
        age_ns = self._ctx.clock.monotonic_ns() - self._snapshot_ns
        busy_ns = max(SNAPSHOT_EVERY_BUSY_S * 1e9, SNAPSHOT_COST * self._cost_ns)
        return self._dirty and (age_ns >= SNAPSHOT_EVERY_S * 1e9 or self._busy_ns >= busy_ns)

    async def _snapshot(self, tasks: asyncio.TaskGroup, *, last: bool = False) -> None:
        """Keep the state as of the end of the last chunk, once all that came of it is acknowledged.

        The state is copied here; it is packed and written while the lane works on. Copies may be large, so one lane
        of a process does this at a time; only for the ``last`` snapshot its turn is waited for.
        """
        if self._saving is not None:
            await self._saving
        await self._unacknowledged.join()
        turn = self._compute.saving
        if not self._dirty or (turn.locked() and not last):
            return
        await turn.acquire()
        try:
            self._dirty = False
            self._snapshot_ns, self._busy_ns = self._ctx.clock.monotonic_ns(), 0
            offsets = dict(self.offsets)
            ends = self._writer.ends_at(offsets)
            frozen = await self._compute.run(self._frozen)
            self._saving = tasks.create_task(self._save(frozen, offsets, ends))
        except BaseException:
            turn.release()
            raise
        # Not in the task: one that is cancelled before it begins would keep the turn for good.
        self._saving.add_done_callback(lambda _: turn.release())

    def _frozen(self) -> Callable[[], bytes]:
        """In the computing thread."""
        started = self._ctx.clock.monotonic_ns()
        frozen = self._stage.freeze()
        self._freeze_ns = self._ctx.clock.monotonic_ns() - started
        return frozen

    def _packed(self, frozen: Callable[[], bytes]) -> bytes:
        """In the packing thread."""
        started = self._ctx.clock.monotonic_ns()
        state = frozen()
        self._cost_ns = self._freeze_ns + self._ctx.clock.monotonic_ns() - started
        return state

    async def _save(self, frozen: Callable[[], bytes], offsets: dict[str, int], ends: dict[str, int]) -> None:
        started = self._snapshot_ns
        state = await self._compute.pack(self._packed, frozen)
        limit = limit_of(self._snapshots.topic)
        self._too_large = len(state) > limit - 65_536
        if self._too_large:
            self._metrics.snapshot_skipped(self.partition, len(state))
            self._ctx.log.error(
                f"the snapshot of partition {self.partition} is not written: expected at most {limit} bytes, got "
                f"{len(state)}; recovery will go on from the one before, so have fewer symbols or shorter windows "
                "per partition (more TAPELAB_PARTITIONS under a new TAPELAB_NAMESPACE)"
            )
            return
        snapshot = Snapshot(offsets=offsets, output_ends=ends, state=state, number=self._number)
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            await (await self._snapshots.write(self._producer, self.partition, snapshot))
        self._number += 1
        took_s = (self._ctx.clock.monotonic_ns() - started) / 1e9
        self._metrics.snapshot(self.partition, len(state), took_s, started if self._dirty else None)
