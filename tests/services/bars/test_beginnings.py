"""A lineage whose stream's beginning is no longer in the log begins with the first whole day there."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.bars.stage import SCHEMA, BarsStage
from tapelab.common.codec import decode, encode
from tapelab.common.errors import RecoveryError
from tapelab.common.pipeline import bar_lineage
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.bars import Bar
from tapelab.common.topics import TICKS
from tapelab.quant.bars.rules import eligible
from tapelab.quant.bars.spec import BarSpec
from tests.quant.bars.tapes import CALENDAR, TYPES, seeded, sessions
from tests.services.bars.test_stage import INSTRUMENTS, PIPELINE, SESSION, WIN, Log, new_stage

pytestmark = pytest.mark.slow

TAPE = seeded(2_000, seed=9)
SPECS = [str(BarSpec.parse(text)) for text in PIPELINE.bars]


def log_of_three_days(step: int = 50) -> list[Record]:
    """The tape with its session markers, as ingest writes them."""
    log = Log()
    days = sessions(3)
    edges = np.searchsorted(np.maximum.accumulate(TAPE.ts_event_ns), [day.close_ns for day in days]).tolist()
    first = 0
    for day, stop in zip(days, [*edges[:-1], TAPE.n], strict=True):
        while first < stop:
            last = min(stop, first + step)
            log.batch(TAPE.slice(first, last), first)
            first = last
        log.marker(first, day.close_ns)
    return log.records


def bars_by_spec(outputs: list[Any]) -> dict[str, list[Bar]]:
    return {spec: [o.record for o in outputs if o.record.spec == spec] for spec in SPECS}


RECORDS = log_of_three_days()
WHOLE = bars_by_spec(new_stage().process(RECORDS).outputs)
FIRST_DAY, *LATER_DAYS = sorted({bar.day for bar in WHOLE[SPECS[0]]})


def renumbered(bars: list[Bar], lineage: str) -> list[bytes]:
    return [encode(msgspec.structs.replace(bar, seq=i, lineage=lineage)) for i, bar in enumerate(bars)]


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(1, len(RECORDS) - 2), size=st.integers(5, 30))
def test_bars_from_any_place_in_the_log_are_those_of_its_whole_days(cut: int, size: int) -> None:
    """Wherever retention has cut the log, and however it is read and restarted."""
    stage, outputs = new_stage(), []
    for start in range(cut, len(RECORDS), size):
        outputs += stage.process(RECORDS[start : start + size]).outputs
        again = new_stage()
        again.restore(stage.freeze()())
        stage = again
    begins = next((day for day in LATER_DAYS if day > _lost_day(RECORDS[cut:])), 0)
    for spec, found in bars_by_spec(outputs).items():
        lineage = bar_lineage(spec, WIN, SESSION, "cafe", begins)
        expected = [bar for bar in WHOLE[spec] if begins and bar.day >= begins]
        assert [encode(bar) for bar in found] == renumbered(expected, lineage)
        assert not found or lineage != WHOLE[spec][0].lineage


def _lost_day(records: list[Record]) -> int:
    """The day that the log's first marker or prints that count belong to."""
    for record in records:
        batch = decode(TICKS, record.value)
        times = batch.ticks().ts_event_ns[eligible(batch.ticks(), CALENDAR, TYPES)].tolist()
        for ts_ns in times or [batch.session_end_ns - 1] * (batch.n == 0):
            session = CALENDAR.session_at(ts_ns)
            assert session is not None
            return session.day
    return LATER_DAYS[-1]


def _first_seq(record: Record) -> int:
    return int(msgspec.msgpack.decode(record.value or b"")[4])


def test_what_is_withheld_is_counted() -> None:
    step = new_stage().process(RECORDS[3:])
    written = sum(len(bars) for bars in bars_by_spec(step.outputs).values())
    assert written > 0
    assert step.counts["bars_withheld"] > 0


def test_a_log_that_begins_with_a_marker_or_between_sessions_loses_no_day() -> None:
    marker = next(i for i, r in enumerate(RECORDS) if msgspec.msgpack.decode(r.value or b"")[5] == 0)
    for cut in (marker, marker + 1):
        found = bars_by_spec(new_stage().process(RECORDS[cut:]).outputs)["tick:7"]
        assert {bar.day for bar in found} == set(LATER_DAYS if cut == marker else LATER_DAYS[1:])


def test_a_print_that_comes_a_day_late_does_not_make_its_day_the_first() -> None:
    """The log begins in the second day, with one late print of the first day among the others."""
    days = sessions(3)
    second = next(i for i, r in enumerate(RECORDS) if _first_seq(r) > 0 and _day_of(r) == LATER_DAYS[0]) + 1
    first = _first_seq(RECORDS[second])
    late = TAPE.slice(first, first + 20)
    late = late._replace(ts_event_ns=np.concatenate([[days[0].open_ns + 1], late.ts_event_ns[1:]]))
    log = Log()
    log.batch(late, first)
    record = log.records[0]._replace(offset=RECORDS[second].offset)
    rest = [r for r in RECORDS[second:] if _first_seq(r) >= first + 20]
    step = new_stage().process([record, *rest])
    assert {o.record.day for o in step.outputs if isinstance(o.record, Bar)} <= set(LATER_DAYS[1:])


def _day_of(record: Record) -> int:
    first = _first_seq(record)
    return next((b.day for b in WHOLE["tick:7"] if b.first_tick_seq <= first <= b.last_tick_seq), 0)


def test_a_stream_that_begins_within_the_log_is_whole_whatever_its_first_number() -> None:
    log = Log()
    log.batch(TAPE.slice(0, 70), 500)  # the log's first record: nothing was cut off before it
    step = new_stage().process(log.records)
    assert [bar.lineage for bar in bars_by_spec(step.outputs)["tick:7"]] == [WHOLE["tick:7"][0].lineage] * 7
    later = Log()
    later.batch(TAPE.slice(0, 70), 0, stream=2)
    record = later.records[0]._replace(offset=77)
    stage = new_stage()
    stage.process([RECORDS[5]])
    assert len(bars_by_spec(stage.process([record]).outputs)["tick:7"]) == 7


def test_a_snapshot_of_another_layout_or_release_is_refused_with_both_named() -> None:
    stage = new_stage()
    stage.process(RECORDS[:3])
    fields = msgspec.msgpack.decode(stage.freeze()())
    assert fields[0] == SCHEMA
    for change, message in (
        (["bars/9", *fields[1:]], "is of another layout: expected bars/2, got 'bars/9'; let the stage start from"),
        ([SCHEMA, "0.0.9", *fields[2:]], "is of another release: expected .*, got 0.0.9; .*first whole day"),
        ([0, [], [], []], "is of another layout: expected bars/2, got 0"),
    ):
        with pytest.raises(RecoveryError, match=message):
            BarsStage(0, PIPELINE, INSTRUMENTS).restore(msgspec.msgpack.encode(change))
