"""Sessions follow local wall-clock hours, also across summer time and holidays."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tapelab.quant.calendar import Session, SessionCalendar

NEW_YORK = SessionCalendar(timezone="America/New_York", open="09:30", close="16:00", holidays=("2024-07-04",))
ALWAYS = SessionCalendar(timezone="UTC", open="00:00", close="24:00", weekdays=range(7))


def ns(text: str, zone: str = "UTC") -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return int(moment.astimezone(UTC).timestamp()) * 1_000_000_000


def test_a_session_contains_its_open_and_not_its_close() -> None:
    session = Session(20240703, ns("2024-07-03T09:30", "America/New_York"), ns("2024-07-03T16:00", "America/New_York"))
    assert NEW_YORK.session_at(session.open_ns) == session
    assert NEW_YORK.session_at(session.close_ns - 1) == session
    assert NEW_YORK.session_at(session.open_ns - 1) is None
    assert NEW_YORK.session_at(session.close_ns) is None


def test_wall_clock_hours_hold_across_the_change_to_summer_time() -> None:
    before = NEW_YORK.session_on_or_after(ns("2024-03-08T12:00"))
    after = NEW_YORK.session_on_or_after(ns("2024-03-11T12:00"))
    assert before.open_ns == ns("2024-03-08T14:30")
    assert after.open_ns == ns("2024-03-11T13:30")


def test_a_market_of_every_weekday_trades_365_days_a_year() -> None:
    assert (NEW_YORK.days_per_year, ALWAYS.days_per_year) == (252, 365)


def test_the_next_session_skips_weekends_and_holidays() -> None:
    session = NEW_YORK.session_on_or_after(ns("2024-07-03T16:00", "America/New_York"))
    assert session.day == 20240705
    assert NEW_YORK.session_on_or_after(session.close_ns).day == 20240708
    assert NEW_YORK.session_on_or_after(session.open_ns + 5) == session


def test_a_market_that_never_closes_has_the_utc_day_as_session() -> None:
    midnight = ns("2024-02-29T00:00")
    session = ALWAYS.session_at(midnight)
    assert session == Session(20240229, midnight, midnight + 86_400_000_000_000)
    following = ALWAYS.session_at(session.close_ns)
    assert following is not None
    assert following.day == 20240301


def test_a_close_at_local_midnight_ends_at_the_next_dates_start() -> None:
    comex = SessionCalendar(timezone="America/New_York", open="00:00", close="24:00")
    session = comex.session_at(ns("2024-03-08T23:59", "America/New_York"))
    assert session is not None
    assert session.close_ns == ns("2024-03-09T00:00", "America/New_York")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timezone": "Mars/Olympus"}, "IANA"),
        ({"open": "9"}, "HH:MM"),
        ({"close": "25:00"}, "24:00"),
        ({"open": "16:00"}, "open before close"),
        ({"weekdays": ()}, "weekdays"),
        ({"weekdays": (7,)}, "weekdays"),
        ({"holidays": ("4 July",)}, "isoformat"),
    ],
)
def test_a_wrong_calendar_is_refused(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"timezone": "UTC", "open": "09:00", "close": "16:00"}
    with pytest.raises(ValueError, match=message):
        SessionCalendar(**{**good, **change})  # type: ignore[arg-type]


def test_a_calendar_that_never_opens_says_so() -> None:
    saturdays_off = SessionCalendar(
        timezone="UTC",
        open="09:00",
        close="10:00",
        weekdays=(5,),
        holidays=[f"{d:%Y-%m-%d}" for d in _saturdays()],
    )
    with pytest.raises(ValueError, match="no session"):
        saturdays_off.session_on_or_after(ns("2024-01-01T00:00"))


def _saturdays() -> list[datetime]:
    first = datetime(2024, 1, 6).toordinal()
    return [datetime.fromordinal(first + 7 * week) for week in range(540)]
