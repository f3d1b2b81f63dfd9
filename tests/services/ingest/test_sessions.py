"""Where a session of a symbol ends, and where a tape is cut."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tapelab.common.errors import ConfigError
from tapelab.ingest.cut import find_cut
from tapelab.ingest.sessions import SessionMarks
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.ticks import Ticks

ZONE = "America/Sao_Paulo"
CALENDAR = SessionCalendar(timezone=ZONE, open="09:00", close="18:25")
ALWAYS = SessionCalendar(timezone="UTC", open="00:00", close="24:00", weekdays=range(7))


def at(day: int, time: str, zone: str = ZONE) -> int:
    """A local time of November 2026 in ns."""
    return int(datetime.fromisoformat(f"2026-11-{day:02d}T{time}").replace(tzinfo=ZoneInfo(zone)).timestamp()) * 10**9


def prints(*times: int) -> Ticks:
    """Prints at the given times."""
    empty = Ticks.empty()
    n = len(times)
    columns = [np.zeros(n, column.dtype) for column in empty]
    return Ticks(np.array(times, np.int64), *columns[1:])


def shape(parts: list[Ticks | int]) -> list[int | str]:
    """Numbers of prints, and closes as text."""
    return [part.n if isinstance(part, Ticks) else f"close {part}" for part in parts]


def test_prints_of_two_days_are_parted_by_the_close_of_the_first() -> None:
    marks = SessionMarks(CALENDAR)
    parts = marks.split(prints(at(4, "10:00:00"), at(4, "18:24:59"), at(5, "10:00:00")))
    assert shape(parts) == [2, f"close {at(4, '18:25:00')}", 1]
    assert marks.end() == at(5, "18:25:00")
    assert marks.end() is None


def test_a_print_after_the_close_ends_the_session() -> None:
    marks = SessionMarks(CALENDAR)
    parts = marks.split(prints(at(4, "18:24:00"), at(4, "18:25:00"), at(4, "19:00:00"), at(5, "08:59:59")))
    assert shape(parts) == [1, f"close {at(4, '18:25:00')}", 3]
    assert marks.end() is None


def test_time_alone_ends_a_session_too() -> None:
    marks = SessionMarks(CALENDAR)
    marks.split(prints(at(4, "10:00:00")))
    assert marks.passed(at(4, "18:24:59")) is None
    assert marks.passed(at(4, "18:25:00")) == at(4, "18:25:00")
    assert marks.passed(at(4, "18:26:00")) is None


def test_a_late_print_does_not_reopen_a_session() -> None:
    marks = SessionMarks(CALENDAR)
    marks.split(prints(at(4, "10:00:00"), at(5, "10:00:00")))
    assert shape(marks.split(prints(at(4, "10:00:01")))) == [1]
    assert marks.close_ns == at(5, "18:25:00")


def test_out_of_session_prints_alone_open_nothing() -> None:
    marks = SessionMarks(CALENDAR)
    assert shape(marks.split(prints(at(4, "07:00:00"), at(7, "12:00:00")))) == [1, 1]
    assert marks.end() is None


@pytest.mark.parametrize("cut", range(6))
def test_the_marks_do_not_depend_on_the_chunks(cut: int) -> None:
    times = [
        at(4, "08:00:00"),
        at(4, "10:00:00"),
        at(4, "18:30:00"),
        at(5, "10:00:00"),
        at(4, "12:00:00"),
        at(6, "9:00:00".zfill(8)),
    ]
    whole = [part for part in SessionMarks(CALENDAR).split(prints(*times)) if isinstance(part, int)]
    marks = SessionMarks(CALENDAR)
    parts = marks.split(prints(*times[:cut])) + marks.split(prints(*times[cut:]))
    assert [part for part in parts if isinstance(part, int)] == whole == [at(4, "18:25:00"), at(5, "18:25:00")]


def test_a_market_that_never_closes_ends_each_utc_day() -> None:
    marks = SessionMarks(ALWAYS)
    midnight = at(5, "00:00:00", "UTC")
    assert shape(marks.split(prints(midnight - 1, midnight))) == [1, f"close {midnight}", 1]


def test_a_fraction_cuts_at_the_opening_of_a_day() -> None:
    first, last = at(4, "10:00:00"), at(13, "13:00:00")  # eight trading days
    assert find_cut("0.75", first, last, [CALENDAR]) == at(12, "09:00:00")
    assert find_cut("0.01", first, last, [CALENDAR]) == at(5, "09:00:00")
    assert find_cut("0.99", first, last, [CALENDAR]) == at(13, "09:00:00")
    assert find_cut("none", first, last, [CALENDAR]) is None


def test_with_several_calendars_the_first_opening_of_the_day_counts() -> None:
    equities = SessionCalendar(timezone=ZONE, open="10:00", close="17:00")
    assert find_cut("0.5", at(4, "10:00:00"), at(5, "13:00:00"), [equities, CALENDAR]) == at(5, "09:00:00")


def test_a_named_day_begins_the_second_part() -> None:
    first, last = at(4, "10:00:00"), at(13, "13:00:00")
    assert find_cut("2026-11-06", first, last, [CALENDAR]) == at(6, "09:00:00")
    with pytest.raises(ConfigError, match="a trading day of the tape after its first: 20261105"):
        find_cut("2026-11-04", first, last, [CALENDAR])


def test_a_tape_of_one_day_is_cut_by_time_at_a_full_minute() -> None:
    assert find_cut("0.5", at(4, "10:00:00"), at(4, "13:00:30"), [CALENDAR]) == at(4, "11:30:00")


@pytest.mark.parametrize("cut", ["0", "1", "half", "-1"])
def test_a_wrong_cut_is_an_error(cut: str) -> None:
    with pytest.raises(ConfigError, match="TAPELAB_INGEST_CUT"):
        find_cut(cut, at(4, "10:00:00"), at(13, "13:00:00"), [CALENDAR])
