"""The features stage: bars in, one feature vector per bar and live feature set out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.common.codec import Identity, decode, identity, seq_range
from tapelab.common.errors import ConfigError, PoisonRecord, RecoveryError
from tapelab.common.instruments import Instruments
from tapelab.common.pipeline import Pipeline
from tapelab.common.runtime.sequence import Sequencer, SequenceState, Verdict
from tapelab.common.runtime.stage import Dead, Output, Record, Step
from tapelab.common.schemas.bars import Bar, bars_to_array
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.topics import BARS, FEATURES
from tapelab.features.tracks import Admitted, Track, TrackState, advance
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.dtypes import BarFlag
from tapelab.quant.features import FEATURE_SETS, FeatureBank


class _State(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot."""

    partition: int
    configuration: str
    sequence: SequenceState
    tracks: list[TrackState]


class FeaturesStage:
    """``md.bars.v1`` to ``ml.features.v1`` for the (bars, feature set) pairs that are live.

    Bars of other specifications are counted as ``bars_not_live`` and leave no trace. A bar the reader's
    rule marks as coming after an explained gap, or that its builder flagged ``AFTER_GAP``, voids the rolling
    state; a new stream starts afresh. A vector's ``seq`` is its bar's, less the bars that were lost since the
    stream's first one, so that it stays contiguous.

    Args:
        partition: the partition whose log it reads.
        pipeline: which pairs are live.
        instruments: tick sizes by symbol.

    Raises:
        ConfigError: a pair names a feature set that does not exist, or bars that do not parse.
    """

    def __init__(self, partition: int, pipeline: Pipeline, instruments: Instruments) -> None:
        self._partition = partition
        self._instruments = instruments
        self._live: dict[str, list[str]] = {}
        for pair in pipeline.features:
            if pair.feature_set not in FEATURE_SETS:
                raise ConfigError(
                    f"the pipeline names an unknown feature set over {pair.bars}",
                    expected=f"one of {', '.join(sorted(FEATURE_SETS))}",
                    actual=pair.feature_set,
                    remedy="correct features in config/pipeline.yaml",
                )
            names = self._live.setdefault(_canonical(pair.bars), [])
            if pair.feature_set not in names:
                names.append(pair.feature_set)
        self._configuration = " ".join(
            [version("tapelab"), *(f"{s}/{FEATURE_SETS[n].id}" for s, names in self._live.items() for n in names)]
        )
        self._sequencer = Sequencer(BARS)
        self._banks = self._new_banks()
        self._tracks: dict[tuple[str, str], Track] = {}

    def process(self, records: Sequence[Record]) -> Step:
        """Take the next bars of the log; vectors come in the order of their bars."""
        step = Step(outputs=[], dead=[], halts={}, counts={})
        # The kernel sees all bars of one step in one call.
        runs: dict[Identity, list[Admitted]] = {}
        for cause, record in enumerate(records):
            try:
                bar, row = self._decoded(record)
            except PoisonRecord as error:
                self._sequencer.note_dead(record.key, record.offset)
                step.dead.append(Dead(cause, str(error)))
                continue
            if bar.spec not in self._live:
                _count(step, "bars_not_live")
            elif self._is_next(bar, row, record, step):
                runs.setdefault(identity(bar), []).append(Admitted(cause, bar, row))
        vectors: list[tuple[int, FeatureVector]] = []
        turn: dict[Track, list[Admitted]] = {}
        for who, bars in runs.items():
            track = self._track(who, bars[0].bar.spec)
            if track in turn:
                # A new stream waits for the one before it.
                vectors += advance(list(turn.items()), self._banks)
                turn = {}
            turn[track] = bars
        vectors += advance(list(turn.items()), self._banks)
        vectors.sort(key=lambda found: found[0])
        step.outputs.extend(Output(FEATURES, vector, cause) for cause, vector in vectors)
        return step

    def _decoded(self, record: Record) -> tuple[Bar, npt.NDArray[np.void]]:
        bar: Bar = decode(record.topic, record.value)
        if bar.spec in self._live:
            self._check(bar)
        try:
            return bar, bars_to_array([bar])
        except OverflowError as error:
            raise PoisonRecord(
                f"bar {bar.seq} of {bar.symbol} has a number out of range",
                expected="integers that fit BAR_DTYPE",
                actual=str(error),
                remedy="fix the producer; the record went to the dead-letter topic",
            ) from error

    def _check(self, bar: Bar) -> None:
        if not all(math.isfinite(price) for price in (bar.open, bar.high, bar.low, bar.close)):
            raise PoisonRecord(
                f"bar {bar.seq} of {bar.symbol} has no finite prices",
                expected="finite open, high, low and close",
                actual=f"{bar.open}, {bar.high}, {bar.low}, {bar.close}",
                remedy="fix the producer; the record went to the dead-letter topic",
            )
        try:
            self._instruments.of(bar.symbol)
        except ConfigError as error:
            raise PoisonRecord(
                error.summary, expected=error.expected, actual=error.actual, remedy=error.remedy
            ) from error

    def _is_next(self, bar: Bar, row: npt.NDArray[np.void], record: Record, step: Step) -> bool:
        admission = self._sequencer.admit(
            identity(bar), *seq_range(bar), partition=record.partition, offset=record.offset
        )
        if admission.verdict is Verdict.HALT:
            step.halts[bar.symbol] = admission.message
            _count(step, "bars_halted")
            return False
        if admission.verdict is Verdict.DROP:
            _count(step, "bars_dropped")
            return False
        if admission.verdict is Verdict.RESET:
            row["flags"] |= np.uint32(BarFlag.AFTER_GAP)
            _count(step, "gaps")
        return True

    def _track(self, who: Identity, spec: str) -> Track:
        key = who.symbol, who.lineage
        if key not in self._tracks:
            self._tracks[key] = self._new_track(who, spec, self._banks)
        return self._tracks[key]

    def _new_track(self, who: Identity, spec: str, banks: Mapping[str, FeatureBank]) -> Track:
        live = {name: banks[name] for name in self._live[spec]}
        return Track(who.symbol, who.lineage, spec, live, self._instruments.of(who.symbol))

    def _new_banks(self) -> dict[str, FeatureBank]:
        return {name: FeatureBank(FEATURE_SETS[name]) for names in self._live.values() for name in names}

    def snapshot(self) -> bytes:
        """The reading marks and every engine."""
        tracks = [track.snapshot() for track in self._tracks.values()]
        return msgspec.msgpack.encode(_State(self._partition, self._configuration, self._sequencer.state, tracks))

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot.

        Raises:
            RecoveryError: it cannot be read, or belongs to another partition or configuration.
        """
        try:
            state = msgspec.msgpack.decode(blob, type=_State)
        except msgspec.MsgspecError as error:
            raise RecoveryError(
                "features snapshot cannot be read",
                expected="a snapshot of this release",
                actual=str(error),
                remedy="let the stage start from the log's start",
            ) from error
        if (state.partition, state.configuration) != (self._partition, self._configuration):
            raise RecoveryError(
                "features snapshot is of another partition or configuration",
                expected=f"partition {self._partition} of {self._configuration}",
                actual=f"partition {state.partition} of {state.configuration}",
                remedy="let the stage start from the log's start under its new configuration",
            )
        banks, tracks = self._new_banks(), {}
        for saved in state.tracks:
            who = Identity(saved.symbol, saved.stream, saved.bar_lineage)
            track = self._new_track(who, saved.spec, banks)
            track.restore(saved)
            tracks[who.symbol, who.lineage] = track
        self._sequencer = Sequencer(BARS, state.sequence)
        self._banks, self._tracks = banks, tracks


def _canonical(spec: str) -> str:
    """The text that bars carry for a specification as the pipeline writes it."""
    try:
        return str(BarSpec.parse(spec))
    except ValueError as error:
        raise ConfigError(
            "the pipeline names bars that do not parse",
            expected="a bar specification",
            actual=str(error),
            remedy="correct config/pipeline.yaml",
        ) from error


def _count(step: Step, kind: str) -> None:
    step.counts[kind] = step.counts.get(kind, 0) + 1
