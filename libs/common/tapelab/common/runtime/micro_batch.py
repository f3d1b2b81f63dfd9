"""What is decided at once: records of all owned partitions, collected up to the next beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tapelab.common.clock import Clock
from tapelab.common.runtime.decision_lane import DecisionLane
from tapelab.common.runtime.kafka import to_records
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.partitions import PartitionOwner
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import CommonSettings

MAX_RECORDS: Final = 4096
#: How long to wait for the first record of a batch.
IDLE_MS: Final = 200

MicroBatch = dict[DecisionLane, list[Record]]


class MicroBatches:
    """Collects one batch after the other, to a beat.

    A batch ends when the beat comes, whenever its records came, so none waits longer than from one beat to the next,
    and what came while the batch before was decided does not wait for that on top.

    Args:
        owner: reads for the partitions that are owned and recovered.
        lanes: of those partitions, as they come and go.
        batch_ms: from one beat to the next.
    """

    def __init__(
        self,
        settings: CommonSettings,
        owner: PartitionOwner,
        lanes: Mapping[int, DecisionLane],
        clock: Clock,
        metrics: StageMetrics,
        *,
        batch_ms: int,
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._lanes = lanes
        self._clock = clock
        self._metrics = metrics
        self._batch_ns = batch_ms * 1_000_000
        self._origin = clock.monotonic_ns()
        self._due = self._beat_after(self._origin)

    async def next(self) -> MicroBatch:
        """What came until the next beat, or a full batch; empty after a while without any.

        Where deciding took so long that a beat has passed meanwhile, what is there is a batch at once.
        """
        clock = self._clock
        batch: MicroBatch = {}
        count = 0
        overdue = clock.monotonic_ns() >= self._due
        while count < MAX_RECORDS:
            left_ms = -(-(self._due - clock.monotonic_ns()) // 1_000_000) if count else IDLE_MS
            if overdue and not count:
                left_ms = 0
            elif left_ms <= 0:
                break
            got = await self._owner.read(MAX_RECORDS - count, left_ms)
            if not got and not count:
                if not overdue:
                    break
                overdue = False
                continue
            if not count and not overdue and clock.monotonic_ns() >= self._due:
                self._due = self._beat_after(clock.monotonic_ns())  # nothing had come by the last one
            for where, messages in got.items():
                # Of this ownership of the partition: should it go and come back, its new lane reads them again.
                lane = self._lanes[where.partition]
                batch.setdefault(lane, []).extend(to_records(self._settings, messages))
                count += len(messages)
        now = clock.monotonic_ns()
        if count and now >= self._due:
            self._metrics.window.observe((now - self._due + self._batch_ns) / 1e9)
        self._due = self._beat_after(now)
        return batch

    def _beat_after(self, now_ns: int) -> int:
        return now_ns + self._batch_ns - (now_ns - self._origin) % self._batch_ns
