"""What the features stage carries for the sequences of bars, and how it takes many of them in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from tapelab.common.errors import RecoveryError
from tapelab.common.instruments import Instrument
from tapelab.common.pipeline import feature_lineage
from tapelab.common.schemas.bars import Bar, array_of_rows
from tapelab.common.schemas.features import FeatureVector
from tapelab.quant.day_context import BINS, MEASURES, DayContext
from tapelab.quant.dtypes import BarFlag
from tapelab.quant.features import FeatureBank, FeatureRows

_SESSION_END: Final = int(BarFlag.SESSION_END)


class Admitted(NamedTuple):
    """A bar that is next in its sequence: the index of its record, itself, and itself as a row of ``BAR_DTYPE``.

    ``begins`` is the day with which its lineage begins, 0 if that is the stream's first bar.
    """

    cause: int
    bar: Bar
    row: bytes
    begins: int = 0


class TrackState(msgspec.Struct, frozen=True, array_like=True):
    """A track in a snapshot.

    ``engines`` are by feature set name, and only there while a day is under way: each day begins afresh. What is
    known of the days before, by the names of the sets that read it, is in ``days``.
    """

    symbol: str
    bar_lineage: str
    spec: str
    lineages: dict[str, str]
    stream: int
    next_seq: int
    begins: int
    seen: int
    engines: dict[str, bytes]
    days: dict[str, bytes]


class Track:
    """One symbol and bar lineage: its number in the bank of each live feature set, and the sequence it emits.

    ``seen`` is the trading day of the symbol, counted by the stage, that its last bar came on; ``under_way`` says
    that this day has not ended.
    """

    def __init__(
        self,
        symbol: str,
        bar_lineage: str,
        spec: str,
        banks: Mapping[str, FeatureBank],
        instrument: Instrument,
        days: Mapping[str, bytes] | None = None,
    ) -> None:
        self.symbol = symbol
        self._bar_lineage = bar_lineage
        self._spec = spec
        self._instrument = instrument
        self._stream = -1
        self._next_seq = 0
        self._begins = 0
        self._banks = banks
        self.under_way = False
        self.seen = 0
        past = {name: _days_of(raw) for name, raw in (days or {}).items()}
        self.numbers = {name: bank.add(instrument.tick_size, past.get(name)) for name, bank in banks.items()}
        self._lineages: dict[str, str] = {}
        self._name_lineages(0)

    def begin(self, first: Bar, begins: int) -> None:
        """Start afresh if the bar is of a new stream."""
        if first.stream != self._stream:
            for name, bank in self._banks.items():
                bank.new_stream(self.numbers[name])
            # Equal to the bar's number as long as no bar is lost; contiguous where one is.
            self._stream, self._next_seq = first.stream, first.seq
            self._name_lineages(begins)

    def _name_lineages(self, begins: int) -> None:
        self._begins = begins
        self._lineages = {
            name: feature_lineage(bank.feature_set.id, self._instrument, self._bar_lineage, begins)
            for name, bank in self._banks.items()
        }

    def vectors(self, bars: Sequence[Admitted], computed: Mapping[str, FeatureRows]) -> list[tuple[int, FeatureVector]]:
        """(cause, vector) for each of the next bars and feature set, in order, from their rows by feature set."""
        vectors = []
        for i, (cause, bar, *_) in enumerate(bars):
            for name in self.numbers:
                values, warm, after_gap = computed[name]
                vector = FeatureVector(
                    symbol=bar.symbol,
                    exchange=bar.exchange,
                    stream=self._stream,
                    lineage=self._lineages[name],
                    bar_lineage=bar.lineage,
                    seq=self._next_seq + i,
                    bar_seq=bar.seq,
                    feature_set_id=self._banks[name].feature_set.id,
                    bar_spec=bar.spec,
                    ts_event_ns=bar.ts_close_ns,
                    day=bar.day,
                    session_close_ns=bar.session_close_ns,
                    ref_price=bar.close,
                    values=values[i].astype("<f4").tobytes(),
                    warm=bool(warm[i]),
                    after_gap=bool(after_gap[i]),
                    session_end=bool(bar.flags & _SESSION_END),
                )
                vectors.append((cause, vector))
        self._next_seq += len(bars)
        self.under_way = not bars[-1].bar.flags & _SESSION_END
        return vectors

    def snapshot(self, *, asleep: bool) -> TrackState:
        """The state; of a track that is ``asleep`` only what its next day needs."""
        awake = self.under_way and not asleep
        return TrackState(
            symbol=self.symbol,
            bar_lineage=self._bar_lineage,
            spec=self._spec,
            lineages=self._lineages,
            stream=self._stream,
            next_seq=self._next_seq,
            begins=self._begins,
            seen=self.seen,
            engines={n: bank.snapshot(self.numbers[n]) for n, bank in self._banks.items()} if awake else {},
            days={} if awake else self._days(),
        )

    def _days(self) -> dict[str, bytes]:
        held = {name: bank.context(self.numbers[name]) for name, bank in self._banks.items()}
        return {name: days.days.astype("<f8").tobytes() for name, days in held.items() if days is not None}

    def restore(self, state: TrackState) -> None:
        """Continue from a snapshot; the days before were given to ``__init__``.

        Raises:
            RecoveryError: it is of other feature sets, another tick size or another layout of the state.
        """
        self._name_lineages(state.begins)
        if state.lineages != self._lineages:
            raise self._misfit(", ".join(self._lineages.values()), ", ".join(state.lineages.values()))
        try:
            for name, bank in self._banks.items() if state.engines else ():
                bank.restore(self.numbers[name], state.engines[name])
        except (ValueError, KeyError) as error:
            raise self._misfit(f"the state of {', '.join(self._banks)}", str(error)) from error
        self._stream, self._next_seq, self.seen = state.stream, state.next_seq, state.seen
        self.under_way = bool(state.engines)

    def _misfit(self, expected: str, actual: str) -> RecoveryError:
        return RecoveryError(
            f"features snapshot of {self.symbol} does not fit",
            expected=expected,
            actual=actual,
            remedy="let the stage start from the log's start: its lineages begin with the first whole day there",
        )


def _days_of(raw: bytes) -> DayContext:
    return DayContext(np.frombuffer(raw, "<f8").reshape(-1, MEASURES, BINS))


def advance(
    runs: Sequence[tuple[Track, Sequence[Admitted]]], banks: Mapping[str, FeatureBank]
) -> list[tuple[int, FeatureVector]]:
    """Take the next bars of many tracks, one call of the kernel for each feature set.

    Args:
        runs: the bars of each track, all of one stream; no track twice.
        banks: where the tracks live, by feature set name.

    Returns:
        (cause, vector) for each bar and feature set, run by run.
    """
    for track, bars in runs:
        track.begin(bars[0].bar, bars[0].begins)
    computed: list[dict[str, FeatureRows]] = [{} for _ in runs]
    for name, bank in banks.items():
        taking = [at for at, (track, _) in enumerate(runs) if name in track.numbers]
        if not taking:
            continue
        counts = [len(runs[at][1]) for at in taking]
        numbers = [runs[at][0].numbers[name] for at in taking]
        rows = bank.update(
            array_of_rows(admitted.row for at in taking for admitted in runs[at][1]), np.repeat(numbers, counts)
        )
        edges = np.cumsum([0, *counts])
        for at, start, stop in zip(taking, edges[:-1], edges[1:], strict=True):
            computed[at][name] = rows.part(start, stop)
    return [vector for (track, bars), rows in zip(runs, computed, strict=True) for vector in track.vectors(bars, rows)]
