"""What the gateway knows of the market topics: counters, last values and rings, from the records alone."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tapelab.api.rates import Latencies, Rate
from tapelab.common.codec import decode, identity, seq_range
from tapelab.common.errors import PoisonRecord
from tapelab.common.pipeline import Pipeline
from tapelab.common.runtime.headers import INGEST, ORIGIN, STAGE, read_stamp
from tapelab.common.runtime.keyed import decode_keyed
from tapelab.common.runtime.sequence import Sequencer, Verdict
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.bars import Bar
from tapelab.common.schemas.signals import Signal, signal_to_builtins
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.topics import ALL_TOPICS, BARS, DLQ_SUFFIX, EVENTS, FEATURES, SIGNALS, TICKS

KEPT_BARS: Final = 500
KEPT_SIGNALS: Final = 500
MARKET: Final = (TICKS, BARS, FEATURES, SIGNALS)
DEAD_LETTERS: Final = tuple(t.name for t in ALL_TOPICS if t.name.endswith(DLQ_SUFFIX))
#: A lineage that is so far behind another, in event time, brings no more bars.
LINEAGE_STOPPED_NS: Final = 10_000_000_000
#: Every topic the gateway reads.
READ: Final = (*MARKET, EVENTS, *DEAD_LETTERS)

_F64: Final = struct.Struct("<d")
_I64: Final = struct.Struct("<q")


@dataclass(slots=True)
class SymbolState:
    """Counters and last values of one symbol since the start of the log."""

    symbol: str
    exchange: str
    stream: int = 0
    ticks: int = 0
    bars: int = 0
    features: int = 0
    signals: int = 0
    last_price: float | None = None
    last_ts_event_ns: int | None = None
    last_published_ns: int | None = None
    session_ended_ns: int = 0
    tick_rate: Rate = field(default_factory=Rate)

    def count(self, topic: str, n: int) -> None:
        """Add to the counter of a topic."""
        if topic == TICKS:
            self.ticks += n
        elif topic == BARS:
            self.bars += n
        elif topic == FEATURES:
            self.features += n
        else:
            self.signals += n


@dataclass(slots=True)
class _BarRing:
    """The newest bars of one symbol and specification, of one stream and lineage only."""

    stream: int
    lineage: str
    ts_close_ns: int = 0
    items: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_BARS))


@dataclass(slots=True)
class Fresh:
    """What a batch of records brought: items for those who watch."""

    signals: list[dict[str, Any]] = field(default_factory=list)
    bars: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)  # symbol, spec, item
    restarted: set[tuple[str, str]] = field(default_factory=set)  # symbol, spec whose ring began anew
    subjects: set[str] = field(default_factory=set)  # experiments and models that something happened to
    latencies_ms: list[float] = field(default_factory=list)
    hops_ms: list[float] = field(default_factory=list)  # from inference's publishing to here
    poison: list[tuple[Record, str]] = field(default_factory=list)  # what could not be decoded, and why


class Live:
    """State over the topics, by the reader's rule: each record once, however often it was written.

    Args:
        pipeline: names the bar specifications that are kept; the first one is the page's.
        started_ns: wall-clock time the reading began. A signal published before it was not waited for,
            so its latency ends at its last hop instead of at its receipt here.
    """

    def __init__(self, pipeline: Pipeline, started_ns: int) -> None:
        self.specs = pipeline.bars
        self.symbols: dict[str, SymbolState] = {}
        self.totals = dict.fromkeys(MARKET, 0)
        self.rates = {topic: Rate() for topic in MARKET}
        self.dead = dict.fromkeys(DEAD_LETTERS, 0)
        self.latencies = Latencies()
        self.signals: deque[dict[str, Any]] = deque(maxlen=KEPT_SIGNALS)
        self.problems: dict[tuple[str, str], str] = {}  # (topic, symbol): why its records are not shown
        self._bars: dict[tuple[str, str], _BarRing] = {}
        self._started_ns = started_ns
        self._sequencers: dict[tuple[str, int], Sequencer] = {}
        self._dead_origins: dict[tuple[bytes, bytes], int] = {}

    @property
    def page_spec(self) -> str:
        """The bar specification the page shows."""
        return self.specs[0]

    def bars(self, symbol: str, spec: str) -> list[dict[str, Any]]:
        """The newest bars, oldest first."""
        ring = self._bars.get((symbol, spec))
        return list(ring.items) if ring else []

    def begin_again(self) -> None:
        """The log, or another one in its place, is read from its beginning again.

        Market records that were seen are dropped by their numbers; dead letters have none, and are counted anew.
        """
        self.dead = dict.fromkeys(DEAD_LETTERS, 0)
        self._dead_origins.clear()

    def take(self, records: Sequence[Record], now_ns: int) -> Fresh:
        """Take records as they were read at ``now_ns``."""
        fresh = Fresh()
        for record in records:
            if record.topic in self.dead:
                self._take_dead(record)
                continue
            try:
                if record.topic == EVENTS:
                    fresh.subjects.add(decode(record.topic, record.value).subject)
                else:
                    self._take_market(record, decode_keyed(record), now_ns, fresh)
            except PoisonRecord as error:
                self._sequencer(record).note_dead(record.key, record.offset)  # it explains the hole it leaves
                fresh.poison.append((record, str(error)))
        return fresh

    def _take_market(self, record: Record, value: Any, now_ns: int, fresh: Fresh) -> None:
        if isinstance(value, TickBatch):
            _check_columns(value)
        first, last = seq_range(value)
        admission = self._sequencer(record).admit(
            identity(value), first, last, partition=record.partition, offset=record.offset
        )
        where = (record.topic, value.symbol)
        if admission.verdict is Verdict.HALT:
            self.problems[where] = admission.message
        if admission.verdict in (Verdict.HALT, Verdict.DROP):
            return
        if admission.new_stream:
            self.problems.pop(where, None)
        state = self.symbols.get(value.symbol)
        if state is None:
            state = self.symbols[value.symbol] = SymbolState(value.symbol, value.exchange)
        state.stream = max(state.stream, value.stream)
        published_ns = _published_ns(record, now_ns)
        n = max(0, last - first - admission.skip)
        state.count(record.topic, n)
        self.totals[record.topic] += n
        self.rates[record.topic].add(published_ns, n)
        if isinstance(value, TickBatch):
            self._take_ticks(state, value, published_ns, n)
        elif isinstance(value, Bar):
            self._take_bar(value, fresh)
        elif isinstance(value, Signal):
            self._take_signal(record, value, published_ns, now_ns, fresh)

    def _take_ticks(self, state: SymbolState, batch: TickBatch, published_ns: int, n: int) -> None:
        state.session_ended_ns = max(state.session_ended_ns, batch.session_end_ns)
        if batch.n == 0:
            return
        state.tick_rate.add(published_ns, n)
        state.last_price = _F64.unpack_from(batch.price, _F64.size * (batch.n - 1))[0]
        state.last_ts_event_ns = _I64.unpack_from(batch.ts_event_ns, _I64.size * (batch.n - 1))[0]
        state.last_published_ns = published_ns

    def _take_bar(self, bar: Bar, fresh: Fresh) -> None:
        name = (bar.symbol, bar.spec)
        if bar.spec not in self.specs:
            return
        ring = self._bars.get(name)
        if ring is None or (ring.stream, ring.lineage) != (bar.stream, bar.lineage):
            if ring is not None and not _takes_over(bar, ring):
                return
            ring = self._bars[name] = _BarRing(bar.stream, bar.lineage)
            fresh.restarted.add(name)
        ring.ts_close_ns = bar.ts_close_ns
        item = bar_item(bar)
        ring.items.append(item)
        fresh.bars.append((bar.symbol, bar.spec, item))

    def _take_signal(self, record: Record, signal: Signal, published_ns: int, now_ns: int, fresh: Fresh) -> None:
        item = signal_to_builtins(signal)
        self.signals.append(item)
        fresh.signals.append(item)
        ingest_ns = read_stamp(record.headers, INGEST)
        if ingest_ns is not None:
            until_ns = now_ns if published_ns >= self._started_ns else published_ns
            latency_ms = max(0, until_ns - ingest_ns) / 1e6
            self.latencies.add(latency_ms)
            fresh.latencies_ms.append(latency_ms)
            if published_ns >= self._started_ns:
                fresh.hops_ms.append(max(0, now_ns - published_ns) / 1e6)

    def _take_dead(self, record: Record) -> None:
        """Count a dead letter once, though a restarted stage may write it again."""
        headers = dict(record.headers)
        place, _, offset = headers.get(ORIGIN, b"").rpartition(b"@")
        if offset.isdigit():
            who = (headers.get(STAGE, b""), place)
            if int(offset) <= self._dead_origins.get(who, -1):
                return
            self._dead_origins[who] = int(offset)
        self.dead[record.topic] += 1

    def is_dead_lettered(self, stage: str, record: Record) -> bool:
        """Whether a stage has sent this record to the dead-letter topic already."""
        who = (stage.encode(), f"{record.topic}[{record.partition}]".encode())
        return record.offset <= self._dead_origins.get(who, -1)

    def _sequencer(self, record: Record) -> Sequencer:
        where = (record.topic, record.partition)
        if where not in self._sequencers:
            self._sequencers[where] = Sequencer(record.topic)
        return self._sequencers[where]


def _takes_over(bar: Bar, ring: _BarRing) -> bool:
    """Whether a bar of another stream or lineage begins a new series.

    During a roll-over two lineages come side by side; the one that is shown stays until it has stopped.
    """
    if bar.stream != ring.stream:
        return bar.stream > ring.stream
    return bar.ts_close_ns - ring.ts_close_ns >= LINEAGE_STOPPED_NS


def bar_item(bar: Bar) -> dict[str, Any]:
    """A bar as the gateway gives it, 64-bit integers as strings."""
    return {
        "symbol": bar.symbol,
        "spec": bar.spec,
        "stream": str(bar.stream),
        "seq": str(bar.seq),
        "ts_open_ns": str(bar.ts_open_ns),
        "ts_close_ns": str(bar.ts_close_ns),
        "day": bar.day,
        "flags": bar.flags,
        "n": bar.n,
        "open": bar.open,
        "high": bar.high,
        "low": bar.low,
        "close": bar.close,
        "volume": bar.volume,
    }


def _published_ns(record: Record, now_ns: int) -> int:
    """When the last hop published a record: its newest stamp, or the receipt where it carries none."""
    return max((int(v) for k, v in record.headers if k.startswith("h-") and v.isdigit()), default=now_ns)


def _check_columns(batch: TickBatch) -> None:
    for name in ("price", "ts_event_ns"):
        if len(getattr(batch, name)) != 8 * batch.n:
            batch.ticks()  # raises PoisonRecord with the details
