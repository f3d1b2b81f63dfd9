"""Streaming equals batch: the span's bars and vectors again, prints coming in pieces, and held against live ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import asyncpg
import numpy as np
import numpy.typing as npt

from tapelab.common import topics
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.instruments import Instruments
from tapelab.common.pipeline import bar_lineage, feature_lineage
from tapelab.common.runtime.outage import Outage
from tapelab.common.runtime.reader import read_topic
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.streams import tick_lineages
from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.features import FeatureEngine
from tapelab.trainer.etl import SymbolData
from tapelab.trainer.records import decoded
from tapelab.trainer.sources import SymbolTicks

#: Prints that are fed one at a time before pieces of random length follow.
_ONE_BY_ONE: Final = 2_000
_LENGTHS: Final = (1, 7, 64, 512, 4_096)
#: Newest records per partition that are looked at for live vectors; bounds memory on a long-lived stack.
_LIVE_TAIL: Final = 200_000


class Parity(NamedTuple):
    """Rows that were compared, and how many of them differ in any bit (or are missing)."""

    compared: int
    mismatches: int

    def __add__(self, other: object) -> Parity:
        """Both together."""
        if not isinstance(other, Parity):
            return NotImplemented
        return Parity(self.compared + other.compared, self.mismatches + other.mismatches)


def streaming_parity(
    item: SymbolTicks, batch: SymbolData, config: ExperimentConfig, instruments: Instruments, *, seed: int
) -> Parity:
    """Compute one symbol's bars and vectors print by print and in pieces of random length; compare bit for bit."""
    instrument = instruments.of(item.span.symbol)
    builder = BarBuilder([config.bar_spec], instruments.calendar(item.span.symbol), instrument.bar_trade_types)
    engine = FeatureEngine(config.features, instrument.tick_size)
    bars, values, flags = [], [], []

    def take(closed: npt.NDArray[np.void]) -> None:
        if len(closed):
            rows = engine.update(closed)
            bars.append(closed)
            values.append(rows.values)
            flags.append(np.stack([rows.warm, rows.after_gap], axis=1))

    for start, stop in _pieces(item.ticks.n, seed):
        take(builder.update(item.ticks.slice(start, stop), item.span.first_seq + start)[0])
    if item.tape_ended:
        take(builder.end_tape()[0])
    if not bars:
        return Parity(len(batch.bars), len(batch.bars))
    whole = (batch.bars, batch.features.values, np.stack([batch.features.warm, batch.features.after_gap], axis=1))
    return _compare(whole, (np.concatenate(bars), np.concatenate(values), np.concatenate(flags)))


def live_parity(vectors: Sequence[FeatureVector], symbols: Sequence[SymbolData], config: ExperimentConfig) -> Parity:
    """Hold vectors that the stack computed live against the span's own, bit for bit.

    Only spans that begin with their stream are compared, as bar numbers count from there; live vectors
    beyond a span's end are left out. A lineage that began on a later day counts its bars from that day's first.
    """
    offline = {(d.span.symbol, d.span.stream): d for d in symbols if d.span.first_seq == 0}
    set_id, spec = config.features.id, config.bars
    compared = mismatches = 0
    starts: dict[tuple[str, int, str], int] = {}
    for vector in vectors:
        data = offline.get((vector.symbol, vector.stream))
        if data is None or (vector.feature_set_id, vector.bar_spec) != (set_id, spec):
            continue
        who = (vector.symbol, vector.stream, vector.lineage)
        if who not in starts:
            starts[who] = _start(vector, data.bars)
        row = starts[who] + vector.bar_seq
        if row >= len(data.bars):
            continue
        compared += 1
        bar = data.bars[row]
        same = (
            vector.ts_event_ns == bar["ts_close_ns"]
            and vector.ref_price == bar["close"]
            and vector.warm == data.features.warm[row]
            and vector.after_gap == data.features.after_gap[row]
            and vector.values == data.features.values[row].astype("<f4").tobytes()
        )
        mismatches += not same
    return Parity(compared, mismatches)


def _start(vector: FeatureVector, bars: npt.NDArray[np.void]) -> int:
    """The row from which a vector's lineage counts: the first of all, or of the day that makes their times agree."""
    days = np.flatnonzero(np.diff(bars["day"], prepend=-1))
    for start in days.tolist():
        row = start + vector.bar_seq
        if row < len(bars) and (bars["day"][row], bars["ts_close_ns"][row]) == (vector.day, vector.ts_event_ns):
            return int(start)
    return 0


async def live_vectors(
    settings: CommonSettings,
    outage: Outage | None,
    pool: asyncpg.Pool,
    config: ExperimentConfig,
    instruments: Instruments,
    symbols: Sequence[SymbolData],
) -> list[FeatureVector]:
    """What this release has put on ``ml.features.v1`` of the spans' streams, newest part."""
    lineages = await tick_lineages(pool, [data.span.stream for data in symbols])
    records = await read_topic(settings, topics.FEATURES, outage, tail=_LIVE_TAIL)

    def own() -> list[FeatureVector]:
        return of_own_release((vector for _, vector in decoded(records)), symbols, lineages, config, instruments)

    return await asyncio.to_thread(own)


def of_own_release(
    vectors: Iterable[FeatureVector],
    symbols: Sequence[SymbolData],
    tick_lineages: Mapping[int, str],
    config: ExperimentConfig,
    instruments: Instruments,
) -> list[FeatureVector]:
    """Vectors of the experiment's pair and streams whose bars and features are of this release.

    Beside it another release may run, whose vectors may rightly differ: its lineages are others.

    Args:
        tick_lineages: of the prints, by stream.
    """
    data_of = {(data.span.symbol, data.span.stream): data for data in symbols}
    own: dict[tuple[str, int, str, str], bool] = {}
    kept = []
    for vector in vectors:
        data = data_of.get((vector.symbol, vector.stream))
        if data is None or vector.feature_set_id != config.features.id:
            continue
        who = (vector.symbol, vector.stream, vector.bar_lineage, vector.lineage)
        if who not in own:
            own[who] = _is_own(vector, data, tick_lineages.get(vector.stream, ""), config, instruments)
        if own[who]:
            kept.append(vector)
    return kept


def _is_own(
    vector: FeatureVector, data: SymbolData, ticks: str, config: ExperimentConfig, instruments: Instruments
) -> bool:
    """Whether lineages are this release's, of bars and of vectors that may begin with any day of the span."""
    instrument = instruments.of(vector.symbol)
    session, spec = instruments.sessions[instrument.session], str(BarSpec.parse(config.bars))
    begins = [0, *np.unique(data.bars["day"]).tolist()]
    return vector.bar_lineage in {
        bar_lineage(spec, instrument, session, ticks, day) for day in begins
    } and vector.lineage in {feature_lineage(config.features.id, instrument, vector.bar_lineage, day) for day in begins}


def _pieces(n: int, seed: int) -> Iterator[tuple[int, int]]:
    random = np.random.default_rng(seed)
    at = 0
    while at < n:
        length = 1 if at < _ONE_BY_ONE else int(random.integers(1, _LENGTHS[random.integers(len(_LENGTHS))] + 1))
        yield at, min(at + length, n)
        at += length


def _compare(whole: Sequence[npt.NDArray[np.generic]], pieces: Sequence[npt.NDArray[np.generic]]) -> Parity:
    """Rows that differ in any bit of any of the arrays; rows on one side only differ."""
    longer = max(len(whole[0]), len(pieces[0]))
    common = min(len(whole[0]), len(pieces[0]))
    same = np.ones(common, bool)
    for left, right in zip(whole, pieces, strict=True):
        same &= (_bytes(left[:common]) == _bytes(right[:common])).all(axis=1)
    return Parity(longer, longer - int(same.sum()))


def _bytes(rows: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Each row as its bytes, shape ``(n, bytes)``."""
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
