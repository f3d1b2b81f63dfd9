"""Publishing prints: a stream, a running number and session ends per symbol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from tapelab.common import topics
from tapelab.common.clock import Clock
from tapelab.common.codec import encode
from tapelab.common.instruments import Instruments
from tapelab.common.runtime.headers import INGEST, TRACE, stamp, traceparent
from tapelab.common.runtime.metrics import watermark_gauge
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.tracing import Tracing
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.sources.protocol import TapeChunk
from tapelab.ingest.sessions import SessionMarks
from tapelab.quant.ticks import Ticks

#: Prints per record when they are due by the clock, and when they go out as fast as possible.
PACED_ROWS: Final = 512
FLAT_OUT_ROWS: Final = 8192
#: Bytes that may wait for the broker before publishing waits for all of them.
IN_FLIGHT_BYTES: Final = 32 << 20

Allocate = Callable[[str], Awaitable[int]]


class IngestMetrics:
    """What :class:`Lanes` counts on; one per process, however often the source is begun again."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ticks = Counter("tapelab_ingest_ticks", "Prints published.", ("symbol",), registry=registry)
        self.watermark = watermark_gauge(registry)


class Lane:
    """One symbol of this run."""

    def __init__(self, symbol: str, exchange: str, stream: int, marks: SessionMarks, watermark: Gauge) -> None:
        self.symbol = symbol
        self.watermark = watermark
        self.exchange = exchange
        self.stream = stream
        self.marks = marks
        self.next_seq = 0


class Lanes:
    """All symbols of this run.

    Args:
        allocate: gives a symbol its stream number.
        lineage: of the prints.
        metrics: of the process.
        partitions: of the topic.
        tracing: is told of every record, where somebody traces.
    """

    def __init__(
        self,
        publisher: Publisher,
        clock: Clock,
        instruments: Instruments,
        allocate: Allocate,
        lineage: str,
        metrics: IngestMetrics,
        *,
        partitions: int,
        tracing: Tracing | None = None,
    ) -> None:
        self._publisher = publisher
        self._tracing = tracing
        self._partitions = partitions
        self._clock = clock
        self._instruments = instruments
        self._allocate = allocate
        self._lineage = lineage
        self._lanes: dict[str, Lane] = {}
        self._in_flight = 0
        self.ts_event_ns = 0
        self._metrics = metrics

    @property
    def lanes(self) -> dict[str, Lane]:
        """Symbols that have a stream, by name."""
        return self._lanes

    async def open(self, symbol: str, exchange: str) -> Lane:
        """A symbol's lane; its stream is allocated when it is first asked for.

        Raises:
            ConfigError: no instrument matches the symbol.
        """
        lane = self._lanes.get(symbol)
        if lane is None:
            marks = SessionMarks(self._instruments.calendar(symbol))
            watermark = self._metrics.watermark.labels("ingest", str(topics.partition_of(symbol, self._partitions)))
            lane = Lane(symbol, exchange, await self._allocate(symbol), marks, watermark)
            self._lanes[symbol] = lane
        return lane

    async def publish(self, chunk: TapeChunk, rows: int) -> None:
        """Publish a chunk in records of at most ``rows`` prints, with the session ends that it passes."""
        lane = await self.open(chunk.symbol, chunk.exchange)
        for part in lane.marks.split(chunk.ticks):
            if isinstance(part, int):
                await self._send(lane, Ticks.empty(), part)
                continue
            for start in range(0, part.n, rows):
                await self._send(lane, part.slice(start, start + rows), 0)
        self.ts_event_ns = max(self.ts_event_ns, int(chunk.ticks.ts_event_ns.max(initial=0)))
        self._metrics.ticks.labels(chunk.symbol).inc(chunk.ticks.n)

    async def passed(self, now_ns: int) -> None:
        """End every session whose close the tape's time has reached."""
        for symbol in self._lanes:
            await self.passed_one(symbol, now_ns)

    async def passed_one(self, symbol: str, now_ns: int) -> None:
        """End a symbol's session if time has reached its close."""
        lane = self._lanes[symbol]
        ended = lane.marks.passed(now_ns)
        if ended is not None:
            await self._send(lane, Ticks.empty(), ended)

    async def end(self) -> None:
        """End every open session: the tape is over."""
        for lane in self._lanes.values():
            ended = lane.marks.end()
            if ended is not None:
                await self._send(lane, Ticks.empty(), ended)
        await self.flush()

    async def flush(self) -> None:
        """Wait until the broker has everything."""
        await self._publisher.flush()
        self._in_flight = 0

    async def _send(self, lane: Lane, ticks: Ticks, session_end_ns: int) -> None:
        value = encode(
            TickBatch.pack(
                ticks,
                symbol=lane.symbol,
                exchange=lane.exchange,
                stream=lane.stream,
                lineage=self._lineage,
                first_seq=lane.next_seq,
                session_end_ns=session_end_ns,
            )
        )
        if self._in_flight + len(value) > IN_FLIGHT_BYTES:
            await self.flush()
        now_ns = self._clock.now_ns()
        trace = traceparent(lane.symbol, lane.stream, lane.next_seq, lane.next_seq + ticks.n)
        await self._publisher.send(
            topics.TICKS,
            lane.symbol,
            value,
            headers=[stamp(INGEST, now_ns), (TRACE, trace)],
            timestamp_ms=now_ns // 1_000_000,
        )
        if self._tracing is not None:
            self._tracing.published(topics.TICKS, trace, ticks.n, now_ns, self._clock.now_ns())
        self._in_flight += len(value)
        lane.next_seq += ticks.n
        if ticks.n:
            lane.watermark.set(ticks.ts_event_ns[-1] / 1e9)
