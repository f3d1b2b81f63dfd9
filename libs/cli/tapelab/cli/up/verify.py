"""Hold what flowed against an offline recomputation of the tape, record by record, byte by byte."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.cli.up.collected import MARKET_TOPICS, Sequence, collect
from tapelab.cli.up.decisions import replay_decisions
from tapelab.cli.up.options import UpOptions
from tapelab.common import topics
from tapelab.common.clock import Clock
from tapelab.common.codec import Identity, encode
from tapelab.common.instruments import Instruments, load_instruments
from tapelab.common.pipeline import Pipeline, bar_lineage, feature_lineage, load_pipeline
from tapelab.common.schemas.bars import Bar
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.settings import CommonSettings
from tapelab.common.sources.detect import open_tape
from tapelab.common.sources.protocol import Tape, TapeChunk
from tapelab.common.sources.ticks_raw import TicksRaw
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.dtypes import BarFlag
from tapelab.quant.features import FEATURE_SETS, compute_features
from tapelab.quant.ticks import Ticks


class Difference(NamedTuple):
    """What an independent reader found on one topic; ``first`` says where the first thing is that is wrong."""

    expected: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    repeated: int = 0
    first: str = ""

    def describe(self) -> str:
        """One line for people."""
        again = f", {self.repeated} written again and dropped by the reader's rule" if self.repeated else ""
        where = f"; first: {self.first}" if self.first else ""
        return (
            f"{self.expected:,} expected, {self.lost} lost, {self.different} different, {self.doubled} doubled"
            f"{again}{where}"
        )

    def plus(self, other: Difference) -> Difference:
        """Both together."""
        return Difference(
            expected=self.expected + other.expected,
            lost=self.lost + other.lost,
            doubled=self.doubled + other.doubled,
            different=self.different + other.different,
            repeated=self.repeated + other.repeated,
            first=self.first or other.first,
        )


class Verification(NamedTuple):
    """What flowed against what should have; ``dead`` counts dead letters by topic."""

    ticks: int
    bars: int
    features: int
    signals: int
    by_topic: dict[str, Difference]
    dead: dict[str, int]

    @property
    def lost(self) -> int:
        """Records that should be there and are not, or have other bytes."""
        return sum(d.lost + d.different for d in self.by_topic.values())

    @property
    def doubled(self) -> int:
        """Records that a follower of the reader's rule gets twice, or that should not be there."""
        return sum(d.doubled for d in self.by_topic.values())


async def verify(settings: CommonSettings, options: UpOptions, clock: Clock, *, quiet_s: float = 3.0) -> Verification:
    """Wait until the stack is at rest, read every topic, and recompute everything from the tape.

    Prints are held against the source itself (those of a followed table in any order, as a row may come late);
    bars, features and signals against what the offline way makes of those prints.
    """
    found = await collect(settings, quiet_s=quiet_s)
    pipeline, instruments = load_pipeline(settings.config_dir), load_instruments(settings.config_dir)
    by_topic = {topic: Difference() for topic in MARKET_TOPICS}
    batches = found.sequences[topics.TICKS]
    followed = options.source == "ticks_raw"
    wanted: dict[str, int] = {}
    for who, sequence in batches.items():
        wanted[who.symbol] = max(wanted.get(who.symbol, 0), sequence.next_seq or 0)
    tape = await tape_columns(options, clock, wanted)
    for who, sequence in batches.items():
        first = sequence.records[0].record
        whole = tape[who.symbol]
        # A stream that was cut off (ingest or the broker was killed) is a stretch of the tape like the newest one.
        ticks = joined_ticks(sequence) if followed else whole.slice(_first_seq(sequence), sequence.next_seq or 0)
        compared = compare_rows(whole, sequence) if followed else compare_ticks(ticks, sequence)
        by_topic[topics.TICKS] = by_topic[topics.TICKS].plus(compared)
        bars, vectors = await asyncio.to_thread(
            expected_records,
            who.symbol,
            first.exchange,
            who.stream,
            who.lineage,
            ticks,
            tape_ended=_ended(sequence),
            pipeline=pipeline,
            instruments=instruments,
        )
        for topic, expected in ((topics.BARS, bars), (topics.FEATURES, vectors)):
            for identity, values in expected.items():
                got = found.sequences[topic].get(identity)
                by_topic[topic] = by_topic[topic].plus(compare(identity, values, got))
    decided = await replay_decisions(settings, found, pipeline, instruments)
    for identity in decided.keys() | found.sequences[topics.SIGNALS].keys():
        got = found.sequences[topics.SIGNALS].get(identity)
        by_topic[topics.SIGNALS] = by_topic[topics.SIGNALS].plus(compare(identity, decided.get(identity, []), got))
    return Verification(
        ticks=found.count(topics.TICKS),
        bars=found.count(topics.BARS),
        features=found.count(topics.FEATURES),
        signals=found.count(topics.SIGNALS),
        by_topic=by_topic,
        dead=found.dead,
    )


def _first_seq(sequence: Sequence) -> int:
    """Where in the tape a stream begins: 0, or in an emptied log what was under way when the old one was lost."""
    first = sequence.records[0].record
    return first.first_seq if isinstance(first, TickBatch) else 0


def _ended(sequence: Sequence) -> bool:
    """Whether a marker has announced the end of the session that the last prints belong to."""
    last = sequence.records[-1].record
    return isinstance(last, TickBatch) and last.n == 0


async def tape_columns(options: UpOptions, clock: Clock, wanted: dict[str, int]) -> dict[str, Ticks]:
    """The first ``wanted`` prints of each symbol, read from the source once more; all prints of a table."""
    parts: dict[str, list[Ticks]] = {symbol: [] for symbol in wanted}
    have = dict.fromkeys(wanted, 0)

    def take(chunk: TapeChunk) -> bool:
        if chunk.symbol in wanted:
            parts[chunk.symbol].append(chunk.ticks)
            have[chunk.symbol] += chunk.ticks.n
        return all(have[s] >= n for s, n in wanted.items())

    def read() -> None:
        for chunk in tape_of(options).chunks():
            if take(chunk):
                return

    if options.source == "ticks_raw":
        async for batch in TicksRaw(options.dsn).batches(clock, poll_s=None):
            for chunk in batch.chunks:
                take(chunk)
        return {s: Ticks.concatenate(chunks) for s, chunks in parts.items()}
    await asyncio.to_thread(read)
    return {s: Ticks.concatenate(parts[s]).slice(0, n) for s, n in wanted.items()}


def tape_of(options: UpOptions) -> Tape:
    """The tape that a run plays."""
    if options.source == "simulator":
        return open_tape(f"seed={options.seed}", format="simulator")
    return open_tape(str(options.tape), format=options.format or None)


def expected_records(
    symbol: str,
    exchange: str,
    stream: int,
    tick_lineage: str,
    ticks: Ticks,
    *,
    tape_ended: bool,
    pipeline: Pipeline,
    instruments: Instruments,
) -> tuple[dict[Identity, list[bytes]], dict[Identity, list[bytes]]]:
    """Bars and feature vectors that follow from a symbol's prints: bytes in order, by identity."""
    instrument = instruments.of(symbol)
    session = instruments.sessions[instrument.session]
    bars: dict[Identity, list[bytes]] = {}
    vectors: dict[Identity, list[bytes]] = {}
    for text in pipeline.bars:
        spec = str(BarSpec.parse(text))
        lineage = bar_lineage(spec, instrument, session, tick_lineage)
        rows = compute_bars(
            ticks,
            BarSpec.parse(text),
            instruments.calendar(symbol),
            instrument.bar_trade_types,
            tape_ended=tape_ended,
        )
        bars[Identity(symbol, stream, lineage)] = [
            encode(
                Bar.from_row(
                    row,
                    symbol=symbol,
                    exchange=exchange,
                    spec=spec,
                    stream=stream,
                    lineage=lineage,
                    tick_lineage=tick_lineage,
                )
            )
            for row in rows
        ]
        for pair in pipeline.features:
            if str(BarSpec.parse(pair.bars)) != spec:
                continue
            feature_set = FEATURE_SETS[pair.feature_set]
            lineage_of_vectors = feature_lineage(feature_set.id, instrument, lineage)
            computed = compute_features(rows, feature_set, instrument.tick_size)
            vectors[Identity(symbol, stream, lineage_of_vectors)] = [
                encode(
                    FeatureVector(
                        symbol=symbol,
                        exchange=exchange,
                        stream=stream,
                        lineage=lineage_of_vectors,
                        bar_lineage=lineage,
                        seq=int(row["seq"]),
                        bar_seq=int(row["seq"]),
                        feature_set_id=feature_set.id,
                        bar_spec=spec,
                        ts_event_ns=int(row["ts_close_ns"]),
                        day=int(row["day"]),
                        session_close_ns=int(row["session_close_ns"]),
                        ref_price=float(row["close"]),
                        values=values.astype("<f4").tobytes(),
                        warm=bool(warm),
                        after_gap=bool(after_gap),
                        session_end=bool(row["flags"] & BarFlag.SESSION_END),
                    )
                )
                for row, values, warm, after_gap in zip(
                    rows, computed.values, computed.warm, computed.after_gap, strict=True
                )
            ]
    return bars, vectors


def compare(who: Identity, expected: list[bytes], got: Sequence | None) -> Difference:
    """One sequence against the records it should hold."""
    name = f"{who.symbol} stream {who.stream} lineage {who.lineage}"
    if got is None:
        missing = f"nothing of {name}" if expected else ""
        return Difference(expected=len(expected), lost=len(expected), first=missing)
    values = [placed.raw.value or b"" for placed in got.records]
    same = min(len(expected), len(values))
    wrong = [i for i, (a, b) in enumerate(zip(expected[:same], values[:same], strict=True)) if a != b]
    different = len(wrong)
    first = ""
    if wrong or len(values) > same:
        raw = got.records[wrong[0] if wrong else same].raw
        first = f"{raw.topic}[{raw.partition}]@{raw.offset}, {name}"
    elif len(expected) > same:
        first = f"after {same} records of {name}"
    elif got.doubled:
        first = f"a number of {name} that was written again with other bytes"
    return Difference(
        expected=len(expected),
        lost=len(expected) - same,
        doubled=got.doubled + len(values) - same,
        different=different,
        repeated=got.repeated,
        first=first,
    )


def joined_ticks(sequence: Sequence) -> Ticks:
    """A symbol's prints as a follower of the reader's rule gets them."""
    parts: list[Ticks] = []
    seen = 0
    for placed in sequence.records:
        batch = placed.record
        if isinstance(batch, TickBatch) and batch.n:
            parts.append(batch.ticks().slice(max(0, seen - batch.first_seq)))
            seen = batch.first_seq + batch.n
    return Ticks.concatenate(parts)


#: How far behind the newest print a row of a followed table must be to count as lost.
_UNDER_WAY_NS: Final = 5_000_000_000
_ROW: Final = np.dtype(
    [("ts", "<i8"), ("price", "<f8"), ("volume", "<f8"), ("type", "u1"), ("buyer", "<i4"), ("seller", "<i4")]
)


def _rows(ticks: Ticks) -> npt.NDArray[np.void]:
    rows = np.empty(ticks.n, _ROW)
    columns = (ticks.ts_event_ns, ticks.price, ticks.volume, ticks.trade_type, ticks.buy_agent, ticks.sell_agent)
    for name, column in zip(_ROW.names or (), columns, strict=True):
        rows[name] = column
    return rows


def compare_rows(table: Ticks, sequence: Sequence) -> Difference:
    """A symbol's prints on the topic against the rows of its table, in any order."""
    got = joined_ticks(sequence)
    newest = int(got.ts_event_ns.max(initial=0))
    stored = Counter(row.tobytes() for row in _rows(table))
    published = Counter(row.tobytes() for row in _rows(got))
    missing = stored - published
    settled = Counter(row.tobytes() for row in _rows(table.take(table.ts_event_ns < newest - _UNDER_WAY_NS)))
    return Difference(
        expected=got.n,
        lost=sequence.holes + (missing & settled).total(),
        doubled=sequence.doubled + (published - stored).total(),
        repeated=sequence.repeated,
    )


def compare_ticks(tape: Ticks, sequence: Sequence) -> Difference:
    """A symbol's prints on the topic against the tape's, column by column."""
    got = joined_ticks(sequence)
    same = min(got.n, tape.n)
    unequal = np.zeros(same, bool)
    for a, b in zip(got.slice(0, same), tape.slice(0, same), strict=True):
        unequal |= (a != b) & ~((a != a) & (b != b))
    return Difference(
        expected=tape.n,
        lost=sequence.holes + tape.n - same,
        doubled=sequence.doubled + got.n - same,
        different=int(unequal.sum()),
        repeated=sequence.repeated,
    )
