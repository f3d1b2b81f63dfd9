"""What the features stage carries for one sequence of bars."""

from __future__ import annotations

from collections.abc import Sequence
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
from tapelab.quant.features import FEATURE_SETS, FeatureEngine


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
    """The engines of one symbol and bar lineage, one per live feature set, and the sequence they emit."""

    def __init__(
        self, symbol: str, bar_lineage: str, spec: str, feature_sets: Sequence[str], instrument: Instrument
    ) -> None:
        self._symbol = symbol
        self._bar_lineage = bar_lineage
        self._spec = spec
        self._stream = -1
        self._next_seq = 0
        self._engines = {name: FeatureEngine(FEATURE_SETS[name], instrument.tick_size) for name in feature_sets}
        self._lineages = {
            name: feature_lineage(engine.feature_set.id, instrument, bar_lineage)
            for name, engine in self._engines.items()
        }

    def advance(self, bars: Sequence[Admitted]) -> list[tuple[int, FeatureVector]]:
        """Take the next bars of one stream and return (cause, vector) for each bar and feature set, in order."""
        stream = bars[0].bar.stream
        if stream != self._stream:
            for engine in self._engines.values():
                engine.new_stream()
            # Equal to the bar's number as long as no bar is lost; contiguous where one is.
            self._stream, self._next_seq = stream, bars[0].bar.seq
        rows = np.concatenate([admitted.row for admitted in bars])
        computed = {name: engine.update(rows) for name, engine in self._engines.items()}
        vectors = []
        for i, (cause, bar, _) in enumerate(bars):
            for name, (values, warm, after_gap) in computed.items():
                vector = FeatureVector(
                    symbol=bar.symbol,
                    exchange=bar.exchange,
                    stream=stream,
                    lineage=self._lineages[name],
                    bar_lineage=bar.lineage,
                    seq=self._next_seq + i,
                    bar_seq=bar.seq,
                    feature_set_id=self._engines[name].feature_set.id,
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
            engines={name: engine.snapshot() for name, engine in self._engines.items()},
        )

    def restore(self, state: TrackState) -> None:
        """Continue from a snapshot.

        Raises:
            RecoveryError: it is of other feature sets or of another tick size.
        """
        try:
            for name, engine in self._engines.items():
                engine.restore(state.engines[name])
        except (ValueError, KeyError) as error:
            raise RecoveryError(
                f"features snapshot of {self._symbol} does not fit",
                expected=f"the state of {', '.join(self._engines)}",
                actual=str(error),
                remedy="let the stage start from the log's start under its new configuration",
            ) from error
        self._stream, self._next_seq = state.stream, state.next_seq
