"""What is decided at once: records of all owned partitions, collected for a short window."""

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
    """Collects one batch after the other.

    Args:
        owner: reads for the partitions that are owned and recovered.
        lanes: of those partitions, as they come and go.
        batch_ms: how long a window is open.
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

    async def next(self) -> MicroBatch:
        """A window that opens with its first record, or a full batch; empty after a while without any."""
        clock = self._clock
        batch: MicroBatch = {}
        count, opened, deadline = 0, 0, 0
        while count < MAX_RECORDS:
            left_ms = (deadline - clock.monotonic_ns()) // 1_000_000 if deadline else IDLE_MS
            if deadline and left_ms <= 0:
                break
            got = await self._owner.read(MAX_RECORDS - count, int(left_ms))
            for where, messages in got.items():
                # Of this ownership of the partition: should it go and come back, its new lane reads them again.
                lane = self._lanes[where.partition]
                batch.setdefault(lane, []).extend(to_records(self._settings, messages))
                count += len(messages)
            if not got and not deadline:
                break
            if not deadline and got:
                opened = clock.monotonic_ns()
                deadline = opened + self._batch_ns
        if deadline:
            self._metrics.window.observe((clock.monotonic_ns() - opened) / 1e9)
        return batch
