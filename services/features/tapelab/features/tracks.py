"""What the features stage carries for the sequences of bars, and how it takes many of them in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.common.errors import RecoveryError
from tapelab.common.instruments import Instrument
from tapelab.common.pipeline import feature_lineage
from tapelab.common.schemas.bars import Bar
from tapelab.common.schemas.features import FeatureVector
from tapelab.quant.dtypes import BarFlag
from tapelab.quant.features import FeatureBank, FeatureRows


class Admitted(NamedTuple):
    """A bar that is next in its sequence: the index of its record, itself, and itself as ``BAR_DTYPE``, shape (1,)."""

    cause: int
    bar: Bar
    row: npt.NDArray[np.void]


class TrackState(msgspec.Struct, frozen=True, array_like=True):
    """A track in a snapshot; ``engines`` are by feature set name."""

    symbol: str
    bar_lineage: str
    spec: str
    stream: int
    next_seq: int
    engines: dict[str, bytes]


class Track:
    """One symbol and bar lineage: its number in the bank of each live feature set, and the sequence it emits."""

    def __init__(
        self, symbol: str, bar_lineage: str, spec: str, banks: Mapping[str, FeatureBank], instrument: Instrument
    ) -> None:
        self._symbol = symbol
        self._bar_lineage = bar_lineage
        self._spec = spec
        self._stream = -1
        self._next_seq = 0
        self._banks = banks
        self.numbers = {name: bank.add(instrument.tick_size) for name, bank in banks.items()}
        self._lineages = {
            name: feature_lineage(bank.feature_set.id, instrument, bar_lineage) for name, bank in banks.items()
        }

    def begin(self, first: Bar) -> None:
        """Start afresh if the bar is of a new stream."""
        if first.stream != self._stream:
            for name, bank in self._banks.items():
                bank.new_stream(self.numbers[name])
            # Equal to the bar's number as long as no bar is lost; contiguous where one is.
            self._stream, self._next_seq = first.stream, first.seq

    def vectors(self, bars: Sequence[Admitted], computed: Mapping[str, FeatureRows]) -> list[tuple[int, FeatureVector]]:
        """(cause, vector) for each of the next bars and feature set, in order, from their rows by feature set."""
        vectors = []
        for i, (cause, bar, _) in enumerate(bars):
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
                    session_end=bool(bar.flags & BarFlag.SESSION_END),
                )
                vectors.append((cause, vector))
        self._next_seq += len(bars)
        return vectors

    def snapshot(self) -> TrackState:
        """The state."""
        return TrackState(
            symbol=self._symbol,
            bar_lineage=self._bar_lineage,
            spec=self._spec,
            stream=self._stream,
            next_seq=self._next_seq,
            engines={name: bank.snapshot(self.numbers[name]) for name, bank in self._banks.items()},
        )

    def restore(self, state: TrackState) -> None:
        """Continue from a snapshot.

        Raises:
            RecoveryError: it is of other feature sets, another tick size or another layout of the state.
        """
        try:
            for name, bank in self._banks.items():
                bank.restore(self.numbers[name], state.engines[name])
        except (ValueError, KeyError) as error:
            raise RecoveryError(
                f"features snapshot of {self._symbol} does not fit",
                expected=f"the state of {', '.join(self._banks)}",
                actual=str(error),
                remedy="let the stage start from the log's start under its new configuration",
            ) from error
        self._stream, self._next_seq = state.stream, state.next_seq


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
        track.begin(bars[0].bar)
    computed: list[dict[str, FeatureRows]] = [{} for _ in runs]
    for name, bank in banks.items():
        taking = [at for at, (track, _) in enumerate(runs) if name in track.numbers]
        if not taking:
            continue
        counts = [len(runs[at][1]) for at in taking]
        numbers = [runs[at][0].numbers[name] for at in taking]
        rows = bank.update(
            np.concatenate([admitted.row for at in taking for admitted in runs[at][1]]), np.repeat(numbers, counts)
        )
        edges = np.cumsum([0, *counts])
        for at, start, stop in zip(taking, edges[:-1], edges[1:], strict=True):
            computed[at][name] = rows.part(start, stop)
    return [vector for (track, bars), rows in zip(runs, computed, strict=True) for vector in track.vectors(bars, rows)]
