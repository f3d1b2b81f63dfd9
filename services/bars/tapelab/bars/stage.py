"""The bars stage: prints in, closed bars of every live specification out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib.metadata import version
from typing import Final

import msgspec

from tapelab.bars.runs import Rows, Run
from tapelab.bars.tracks import Track, TrackState
from tapelab.common.codec import identity, seq_range
from tapelab.common.errors import ConfigError, PoisonRecord
from tapelab.common.instruments import Instruments
from tapelab.common.pipeline import Pipeline
from tapelab.common.runtime.keyed import decode_keyed
from tapelab.common.runtime.sequence import Sequencer, SequenceState, Verdict
from tapelab.common.runtime.stage import Dead, Output, Record, Step
from tapelab.common.runtime.stage_state import decode_state, refused
from tapelab.common.schemas.bars import bars_of_rows
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.topics import BARS, TICKS
from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.snapshot import SnapshotMismatch
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.ticks import Ticks

#: Of the state's layout, apart from the release. State serves the lineages it belongs to and no others, so a release
#: that changes them, as every one does, computes its own from the log; only within a release is state read on.
SCHEMA: Final = "bars/2"
_LAST: Final = 2**62  # numbers up to here leave room for arithmetic in 64 bits
_REMEDY: Final = "fix the producer; the record went to the dead-letter topic"


class _State(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot. ``whole`` says that nothing was missing at the log's start when the stage began there."""

    schema: str
    release: str
    partition: int
    specs: list[str]
    whole: bool
    sequence: SequenceState
    tracks: list[TrackState]


class BarsStage:
    """``md.ticks.v1`` to ``md.bars.v1`` for every specification of the pipeline and every symbol.

    Bars come in the order of the records that closed them, then of the specifications, then of their
    ``seq``. A gap that a dead letter explains voids the pending bars and flags the next ones ``AFTER_GAP``;
    an unexplained one halts the symbol. A new stream starts afresh with ``seq`` 0. A session marker whose
    first_seq was passed already is a repetition and is dropped. Bars of a day whose beginning is no longer in the
    log are not written: they begin with the first whole day, as a lineage of their own (``tracks.py``).

    Counts: ``ticks_dropped`` and ``ticks_halted`` (records), ``prints_repeated``, ``gaps``, ``bars_withheld`` (of
    days that are not whole).

    Args:
        partition: the partition whose log it reads.
        pipeline: which bars are live.
        instruments: sessions and the prints that count, by symbol.

    Raises:
        ConfigError: the pipeline has no bars, or some that do not parse or are the same.
    """

    def __init__(self, partition: int, pipeline: Pipeline, instruments: Instruments) -> None:
        self._partition = partition
        self._instruments = instruments
        self._specs = _parsed(pipeline)
        self._sequencer = Sequencer(TICKS)
        self._tracks: dict[tuple[str, str], Track] = {}
        self._whole: bool | None = None  # not known before the first record

    def warm_up(self) -> None:
        """Compile the kernel, or load it from disk, before the first print waits for it."""
        calendar = SessionCalendar(timezone="UTC", open="00:00", close="24:00")
        BarBuilder(self._specs, calendar, (0,)).update(Ticks.empty(), 0)

    def process(self, records: Sequence[Record]) -> Step:
        """Take the next prints of the log; every bar they close comes out once."""
        step = Step(outputs=[], dead=[], halts={}, counts={})
        if self._whole is None and records:
            self._whole = min(record.offset for record in records) == 0
        for cause, record in enumerate(records):
            try:
                self._take(cause, record, step)
            except PoisonRecord as error:
                self._sequencer.note_dead(record.key, record.offset)
                step.dead.append(Dead(cause, str(error)))
        for track in self._tracks.values():
            _compute(track, step)
        # Symbols were computed one after the other, and specifications; no record is the cause of two symbols' bars.
        step.outputs.sort(key=_cause)
        return step

    def _take(self, cause: int, record: Record, step: Step) -> None:
        batch: TickBatch = decode_keyed(record)
        batch.check()
        track = self._track(batch)
        _check(batch, track.calendar)
        # Only what has passed every check may move the reading mark.
        admission = self._sequencer.admit(
            identity(batch), *seq_range(batch), partition=record.partition, offset=record.offset
        )
        if admission.verdict is Verdict.HALT:
            step.halts[batch.symbol] = admission.message
            _count(step, "ticks_halted")
            return
        if admission.verdict is Verdict.DROP or (batch.n == 0 and admission.skip > 0):
            _count(step, "ticks_dropped")
            return
        if admission.new_stream:
            _compute(track, step)
            # Whoever has read the log from its first record, or knows the symbol, sees a stream's real beginning.
            track.new_stream(whole=bool(self._whole) or track.known or batch.first_seq == 0)
        track.look(batch)
        if admission.verdict is Verdict.RESET:
            _compute(track, step)
            track.builder.reset(after_gap=True)
            _count(step, "gaps")
        if admission.skip > 0:
            _count(step, "prints_repeated", admission.skip)
        if batch.n > 0:
            if track.run is not None and admission.skip == 0 and track.run.takes(batch):
                track.run.add(batch, cause)
            else:
                _compute(track, step)
                track.run = Run(batch, cause, admission.skip)
        elif batch.session_end_ns > 0:
            _compute(track, step)
            for spec, rows in enumerate(track.builder.end_session(batch.session_end_ns)):
                _emit(track, batch, spec, rows, [cause] * len(rows), step)

    def _track(self, batch: TickBatch) -> Track:
        key = batch.symbol, batch.lineage
        if key not in self._tracks:
            try:
                self._tracks[key] = Track(batch.symbol, batch.lineage, self._specs, self._instruments)
            except ConfigError as error:
                raise PoisonRecord(
                    error.summary, expected=error.expected, actual=error.actual, remedy=error.remedy
                ) from error
        return self._tracks[key]

    def freeze(self) -> Callable[[], bytes]:
        """The reading marks and every builder."""
        tracks = [track.freeze() for track in self._tracks.values() if track.known]
        whole, sequence = bool(self._whole), deepcopy(self._sequencer.state)
        specs = [str(spec) for spec in self._specs]
        return lambda: msgspec.msgpack.encode(
            _State(SCHEMA, version("tapelab"), self._partition, specs, whole, sequence, [track() for track in tracks])
        )

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot.

        Raises:
            RecoveryError: it cannot be read, or belongs to another partition, release or configuration.
        """
        state = decode_state("bars", SCHEMA, _State, blob)
        specs = [str(spec) for spec in self._specs]
        if (state.partition, state.specs) != (self._partition, specs):
            raise refused(
                "bars",
                "is of another partition or pipeline",
                f"partition {self._partition} of {', '.join(specs)}",
                f"partition {state.partition} of {', '.join(state.specs)}",
            )
        tracks: dict[tuple[str, str], Track] = {}
        for saved in state.tracks:
            try:
                track = Track(saved.symbol, saved.tick_lineage, self._specs, self._instruments)
                track.restore(saved)
            except ConfigError as error:
                raise refused("bars", f"holds {saved.symbol}", error.expected, error.actual) from error
            except SnapshotMismatch as error:
                raise refused("bars", f"of {saved.symbol} does not fit", error.expected, error.actual) from error
            if saved.lineages != track.lineages:
                raise refused(
                    "bars",
                    f"of {saved.symbol} is of other lineages",
                    ", ".join(track.lineages),
                    ", ".join(saved.lineages),
                )
            tracks[saved.symbol, saved.tick_lineage] = track
        self._sequencer = Sequencer(TICKS, state.sequence)
        self._tracks = tracks
        self._whole = state.whole


def _compute(track: Track, step: Step) -> None:
    """Compute the batches of a track that wait for it."""
    run, track.run = track.run, None
    if run is not None:
        for spec, rows, causes in run.compute(track.builder):
            _emit(track, run.batch, spec, rows, causes, step)


def _emit(track: Track, batch: TickBatch, spec: int, closed: Rows, causes: list[int], step: Step) -> None:
    rows = track.whole(spec, closed)
    if len(rows) < len(closed):
        _count(step, "bars_withheld", len(closed) - len(rows))
    bars = bars_of_rows(
        rows,
        symbol=batch.symbol,
        exchange=batch.exchange,
        spec=track.names[spec],
        stream=batch.stream,
        lineage=track.lineages[spec],
        tick_lineage=batch.lineage,
    )
    # Withheld bars are the first ones.
    causes = causes[len(closed) - len(rows) :]
    step.outputs.extend([Output(BARS, bar, cause) for bar, cause in zip(bars, causes, strict=True)])


def _cause(output: Output) -> int:
    return output.cause


def _parsed(pipeline: Pipeline) -> tuple[BarSpec, ...]:
    try:
        specs = tuple(BarSpec.parse(text) for text in pipeline.bars)
    except ValueError as error:
        raise ConfigError(
            "the pipeline names bars that do not parse",
            expected="bar specifications",
            actual=str(error),
            remedy="correct bars in config/pipeline.yaml",
        ) from error
    if not specs or len(set(specs)) != len(specs):
        raise ConfigError(
            "the pipeline has no bars or names some twice",
            expected="one or more different bar specifications",
            actual=", ".join(pipeline.bars) or "none",
            remedy="correct bars in config/pipeline.yaml",
        )
    return specs


def _check(batch: TickBatch, calendar: SessionCalendar) -> None:
    if not (0 <= batch.first_seq < _LAST and 0 <= batch.book_seq < _LAST and 0 <= batch.session_end_ns < _LAST):
        raise PoisonRecord(
            f"tick batch of {batch.symbol} has a number out of range",
            expected="first_seq, book_seq and session_end_ns from 0 to 2^62",
            actual=f"{batch.first_seq}, {batch.book_seq}, {batch.session_end_ns}",
            remedy=_REMEDY,
        )
    if batch.n == 0 and batch.session_end_ns > 0:
        session = calendar.session_at(batch.session_end_ns - 1)
        if session is None or session.close_ns != batch.session_end_ns:
            raise PoisonRecord(
                f"session marker of {batch.symbol} names no session's close",
                expected=f"the close of a session of {calendar.key}",
                actual=f"{batch.session_end_ns} ns",
                remedy=_REMEDY,
            )


def _count(step: Step, kind: str, by: int = 1) -> None:
    step.counts[kind] = step.counts.get(kind, 0) + by
