"""The features stage: bars in, one feature vector per bar and live feature set out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Final

import msgspec

from tapelab.common.codec import Identity, identity, seq_range
from tapelab.common.errors import ConfigError, PoisonRecord
from tapelab.common.instruments import Instruments
from tapelab.common.pipeline import Pipeline
from tapelab.common.runtime.keyed import decode_keyed
from tapelab.common.runtime.sequence import Sequencer, SequenceState, Verdict
from tapelab.common.runtime.stage import Dead, Output, Record, Step
from tapelab.common.runtime.stage_state import decode_state, refused
from tapelab.common.schemas.bars import Bar, row_of_bar
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.topics import BARS, FEATURES
from tapelab.features.tracks import Admitted, Track, TrackState, advance
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.dtypes import BarFlag
from tapelab.quant.features import FEATURE_SETS, FeatureBank

_FIRST_OF_DAY: Final = int(BarFlag.FIRST_OF_DAY)
_AFTER_GAP: Final = int(BarFlag.AFTER_GAP)
#: Of the state's layout, apart from the release. State serves the lineages it belongs to and no others, so a release
#: that changes them, as every one does, computes its own from the log; only within a release is state read on.
SCHEMA: Final = "features/2"
#: A sequence of which no bar has come for so many trading days of its symbol keeps only what a new day needs.
#: Counted by symbol, as symbols know nothing of each other and may be taken in any order.
IDLE_DAYS: Final = 5


class _State(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot.

    ``whole`` says that nothing was missing at the log's start when the stage began there; ``waiting`` are sequences
    whose beginning was missing and whose first whole day has not come; ``days`` are each symbol's newest trading day
    and how often that has risen.
    """

    schema: str
    release: str
    partition: int
    configuration: str
    whole: bool
    sequence: SequenceState
    waiting: list[tuple[str, str]]
    days: dict[str, tuple[int, int]]
    tracks: list[TrackState]


class FeaturesStage:
    """``md.bars.v1`` to ``ml.features.v1`` for the (bars, feature set) pairs that are live.

    Bars of other specifications are counted as ``bars_not_live`` and leave no trace. A bar the reader's
    rule marks as coming after an explained gap, or that its builder flagged ``AFTER_GAP``, voids the rolling
    state; a new stream starts afresh. A vector's ``seq`` is its bar's, less the bars that were lost since the
    stream's first one, so that it stays contiguous. Where the log has lost a stream's beginning, vectors begin with
    the first day that is whole there, as a lineage of their own; bars before are counted as ``bars_withheld``.

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
        self._configuration = " ".join(f"{s}/{FEATURE_SETS[n].id}" for s, names in self._live.items() for n in names)
        self._sequencer = Sequencer(BARS)
        self._banks = self._new_banks()
        self._tracks: dict[tuple[str, str], Track] = {}
        self._asleep: dict[tuple[str, str], TrackState] = {}
        self._waiting: set[tuple[str, str]] = set()
        self._whole: bool | None = None  # not known before the first record
        self._days: dict[str, tuple[int, int]] = {}

    def process(self, records: Sequence[Record]) -> Step:
        """Take the next bars of the log; vectors come in the order of their bars."""
        step = Step(outputs=[], dead=[], halts={}, counts={})
        # The kernel sees all bars of one step in one call.
        runs: dict[Identity, list[Admitted]] = {}
        if self._whole is None and records:
            self._whole = min(record.offset for record in records) == 0
        days = dict(self._days)
        for cause, record in enumerate(records):
            try:
                bar, row = self._decoded(record)
            except PoisonRecord as error:
                self._sequencer.note_dead(record.key, record.offset)
                step.dead.append(Dead(cause, str(error)))
                continue
            if bar.spec not in self._live:
                _count(step, "bars_not_live")
            else:
                self._take(cause, bar, row, record, runs, step)
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
        if self._days != days:
            self._forget_idle()
        return step

    def _decoded(self, record: Record) -> tuple[Bar, bytes]:
        bar: Bar = decode_keyed(record)
        if bar.spec in self._live:
            self._check(bar)
        try:
            return bar, row_of_bar(bar)
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

    def _take(
        self,
        cause: int,
        bar: Bar,
        row: bytes,
        record: Record,
        runs: dict[Identity, list[Admitted]],
        step: Step,
    ) -> None:
        who, key = identity(bar), (bar.symbol, bar.lineage)
        admission = self._sequencer.admit(who, *seq_range(bar), partition=record.partition, offset=record.offset)
        if admission.verdict is Verdict.HALT:
            step.halts[bar.symbol] = admission.message
            _count(step, "bars_halted")
            return
        if admission.verdict is Verdict.DROP:
            _count(step, "bars_dropped")
            return
        if admission.verdict is Verdict.RESET:
            row = _after_gap(bar)
            _count(step, "gaps")
        if admission.new_stream:
            # Whoever has read the log from its first record, or knows the sequence, sees a stream's real beginning.
            known = key in self._tracks or key in self._asleep or key in self._waiting
            cut_off = not (self._whole or bar.seq == 0 or known)
            (self._waiting.add if cut_off else self._waiting.discard)(key)
        begins_day = bool(bar.flags & _FIRST_OF_DAY)
        if key in self._waiting and not begins_day:
            _count(step, "bars_withheld")
            return
        begins = bar.day if key in self._waiting else 0
        self._waiting.discard(key)
        day, count = self._days.get(bar.symbol, (0, 0))
        if bar.day > day:
            count += 1
            self._days[bar.symbol] = bar.day, count
        track = self._track(who, bar.spec)
        if self._is_idle(track) and not begins_day:
            row = _after_gap(bar)  # what it knew of this day is gone
        track.seen = count
        runs.setdefault(who, []).append(Admitted(cause, bar, row, begins))

    def _track(self, who: Identity, spec: str) -> Track:
        key = who.symbol, who.lineage
        if key not in self._tracks:
            if key in self._asleep:
                self._tracks[key] = self._woken(self._asleep.pop(key), self._banks)
            else:
                self._tracks[key] = self._new_track(who, spec, self._banks)
                self._tracks[key].seen = self._days[who.symbol][1]
        return self._tracks[key]

    def _is_idle(self, track: Track | TrackState) -> bool:
        return self._days[track.symbol][1] - track.seen > IDLE_DAYS

    def _forget_idle(self) -> None:
        """Give back the room of tracks of which nothing comes any more."""
        idle = {key: track for key, track in self._tracks.items() if self._is_idle(track)}
        if idle:
            self._asleep |= {key: track.snapshot(asleep=True) for key, track in idle.items()}
            self._lay_out([track.snapshot(asleep=False) for key, track in self._tracks.items() if key not in idle])

    def _new_banks(self) -> dict[str, FeatureBank]:
        return {name: FeatureBank(FEATURE_SETS[name]) for names in self._live.values() for name in names}

    def _new_track(
        self, who: Identity, spec: str, banks: Mapping[str, FeatureBank], days: Mapping[str, bytes] | None = None
    ) -> Track:
        live = {name: banks[name] for name in self._live[spec]}
        return Track(who.symbol, who.lineage, spec, live, self._instruments.of(who.symbol), days)

    def _woken(self, state: TrackState, banks: Mapping[str, FeatureBank]) -> Track:
        who = Identity(state.symbol, state.stream, state.bar_lineage)
        track = self._new_track(who, state.spec, banks, state.days)
        track.restore(state)
        return track

    def _lay_out(self, states: Sequence[TrackState]) -> None:
        banks = self._new_banks()
        tracks = {(state.symbol, state.bar_lineage): self._woken(state, banks) for state in states}
        self._banks, self._tracks = banks, tracks

    def _states(self) -> list[TrackState]:
        awake = {key: track.snapshot(asleep=self._is_idle(track)) for key, track in self._tracks.items()}
        return [state for _, state in sorted({**awake, **self._asleep}.items())]

    def freeze(self) -> Callable[[], bytes]:
        """The reading marks and every engine whose day is under way."""
        state = _State(
            SCHEMA,
            version("tapelab"),
            self._partition,
            self._configuration,
            bool(self._whole),
            self._sequencer.state,
            sorted(self._waiting),
            self._days,
            self._states(),
        )
        # Small enough to be encoded at once.
        encoded = msgspec.msgpack.encode(state)
        return lambda: encoded

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot.

        Raises:
            RecoveryError: it cannot be read, or belongs to another partition, release or configuration.
        """
        state = decode_state("features", SCHEMA, _State, blob)
        if (state.partition, state.configuration) != (self._partition, self._configuration):
            raise refused(
                "features",
                "is of another partition or configuration",
                f"partition {self._partition} of {self._configuration}",
                f"partition {state.partition} of {state.configuration}",
            )
        self._days = state.days
        try:
            self._lay_out([track for track in state.tracks if not self._is_idle(track)])
        except ConfigError as error:
            raise refused("features", "holds a symbol without an instrument", error.expected, error.actual) from error
        self._asleep = {(t.symbol, t.bar_lineage): t for t in state.tracks if self._is_idle(t)}
        self._sequencer = Sequencer(BARS, state.sequence)
        self._waiting = set(state.waiting)
        self._whole = state.whole


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


def _after_gap(bar: Bar) -> bytes:
    return row_of_bar(msgspec.structs.replace(bar, flags=bar.flags | _AFTER_GAP))


def _count(step: Step, kind: str) -> None:
    step.counts[kind] = step.counts.get(kind, 0) + 1
