"""A publisher and a bulletin that remember instead of sending."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from tapelab.common import topics
from tapelab.common.clock import ManualClock
from tapelab.common.codec import decode
from tapelab.common.instruments import load_instruments
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.ticks import TickBatch
from tapelab.ingest.lanes import IngestMetrics, Lanes
from tapelab.ingest.status import ReplayStatus
from tapelab.quant.ticks import Ticks

CONFIG = Path(__file__).resolve().parents[3] / "config"


class Wire:
    """Stands in for the publisher."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.records: list[Record] = []
        self.sent_ns: list[int] = []

    async def send(
        self,
        topic: str,
        key: str,
        value: bytes,
        *,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        timestamp_ms: int | None = None,
    ) -> asyncio.Future[object]:
        self.records.append(Record(topic, 0, len(self.records), key.encode(), value, tuple(headers), timestamp_ms or 0))
        self.sent_ns.append(self._clock.monotonic_ns())
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def flush(self) -> None:
        return None

    def batches(self, symbol: str | None = None) -> list[TickBatch]:
        """What was sent, in order."""
        found = [decode(topics.TICKS, record.value) for record in self.records]
        return [batch for batch in found if symbol in (None, batch.symbol)]

    def ticks(self, symbol: str) -> Ticks:
        """All prints of a symbol; their numbers follow each other without hole or double."""
        batches = [batch for batch in self.batches(symbol) if batch.n]
        next_seq = 0
        for batch in batches:
            assert batch.first_seq == next_seq
            next_seq += batch.n
        return Ticks.concatenate([batch.ticks() for batch in batches])


class Board:
    """Stands in for the status in Redis; ``release_after`` looks at it pass before it releases the run."""

    def __init__(self, release_after: int = 0) -> None:
        self.run = "this run"
        self.statuses: list[ReplayStatus] = []
        self.looks = 0
        self.restarts = 0
        self.restarted = ""
        self._release_after = release_after

    async def publish(self, status: ReplayStatus) -> None:
        self.statuses.append(status)

    async def released(self) -> bool:
        self.looks += 1
        return self.looks > self._release_after

    @property
    def states(self) -> list[str]:
        """The states in order, each once."""
        states = [status.state for status in self.statuses]
        return [state for i, state in enumerate(states) if i == 0 or state != states[i - 1]]


def lanes(wire: Wire, clock: ManualClock, lineage: str = "lineage") -> Lanes:
    """Lanes over the wire; streams count from 1."""
    streams = iter(range(1, 100))

    async def allocate(symbol: str) -> int:
        return next(streams)

    metrics = IngestMetrics(CollectorRegistry())
    return Lanes(wire, clock, load_instruments(CONFIG), allocate, lineage, metrics, partitions=4)  # type: ignore[arg-type]
