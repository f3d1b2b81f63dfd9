"""Holidays and short days against the exchanges' published calendars."""

from __future__ import annotations

from datetime import UTC, date, datetime
from hashlib import sha256

import pytest

from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.holidays import RULES, b3, comex, easter, us

B3 = SessionCalendar(timezone="America/Sao_Paulo", open="09:00", close="18:25", observes="b3", late_open="13:00")
US = SessionCalendar(timezone="America/New_York", open="09:30", close="16:00", observes="us", early_close="13:00")
#: Weekdays without a session, from the exchanges' calendars of those years.
B3_2024 = "01-01 02-12 02-13 03-29 05-01 05-30 11-15 11-20 12-24 12-25 12-31"
B3_2023 = "02-20 02-21 04-07 04-21 05-01 06-08 09-07 10-12 11-02 11-15 12-25 12-29"
US_2024 = "01-01 01-15 02-19 03-29 05-27 06-19 07-04 09-02 11-28 12-25"
US_2021 = "01-01 01-18 02-15 04-02 05-31 07-05 09-06 11-25 12-24"


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def weekdays_of(days: frozenset[date]) -> str:
    return " ".join(f"{day:%m-%d}" for day in sorted(days) if day.weekday() < 5)


def test_easter_of_years_that_are_known() -> None:
    known = {2000: (4, 23), 2008: (3, 23), 2011: (4, 24), 2019: (4, 21), 2024: (3, 31), 2038: (4, 25)}
    assert all(easter(year) == date(year, *day) for year, day in known.items())


def test_the_holidays_are_those_the_exchanges_published() -> None:
    assert weekdays_of(b3(2024).closed) == B3_2024
    assert weekdays_of(b3(2023).closed) == B3_2023
    assert weekdays_of(us(2024).closed) == US_2024
    assert weekdays_of(us(2021).closed) == US_2021


#: Number of days, and the first hex digits of the sha256 of their ISO dates joined by spaces: weekdays of 2010 to 2027
#: without a session in exchange_calendars 4.13.2 (BVMF, XNYS) and pandas_market_calendars 5.5.0 (CMEGlobex_GC).
CLOSED = {
    "b3": (233, "adc7d16e721d2619"),
    "us": (170, "c0dfc376ae1065b8"),
    "comex": (52, "1dbbe265550d792f"),
}


def told(days: list[date]) -> tuple[int, str]:
    weekdays = sorted(day for day in days if day.weekday() < 5)
    return len(weekdays), sha256(" ".join(map(str, weekdays)).encode()).hexdigest()[:16]


@pytest.mark.parametrize("exchange", CLOSED)
def test_every_closed_day_of_eighteen_years_is_that_of_a_calendar_library(exchange: str) -> None:
    assert told([day for year in range(2010, 2028) for day in RULES[exchange](year).closed]) == CLOSED[exchange]


def test_short_and_late_days_are_those_of_a_calendar_library() -> None:
    early = [day for year in range(2013, 2028) for day in us(year).early]
    assert told(early) == (32, "a0d00e51bba19069")
    # exchange_calendars knows late Ash Wednesdays from 2016 on; B3 has opened at 13:00 on those before as well.
    assert told([day for year in range(2016, 2028) for day in b3(year).late]) == (12, "31821156a837feb6")
    assert b3(2010).late == {date(2010, 2, 17)}


def test_b3_has_no_session_on_the_last_weekday_of_a_year() -> None:
    for year, last in {2017: (12, 29), 2021: (12, 31), 2022: (12, 30), 2024: (12, 31)}.items():
        assert date(year, *last) in b3(year).closed


def test_comex_keeps_new_year_good_friday_and_christmas() -> None:
    assert weekdays_of(comex(2021).closed) == "01-01 04-02 12-24"
    assert weekdays_of(comex(2022).closed) == "04-15 12-26"
    assert not comex(2009).closed
    session = SessionCalendar(timezone="America/New_York", open="00:00", close="24:00", observes="comex")
    assert session.session_at(ns("2023-04-07T15:00")) is None
    assert session.session_at(ns("2023-05-29T15:00")) is not None


def test_b3_kept_the_citys_holidays_until_2021() -> None:
    assert date(2021, 1, 25) in b3(2021).closed
    assert date(2021, 7, 9) in b3(2021).closed
    assert date(2020, 7, 9) not in b3(2020).closed
    assert date(2020, 11, 20) not in b3(2020).closed
    assert date(2020, 6, 11) in b3(2020).closed
    assert date(2014, 6, 12) in b3(2014).closed
    assert date(2023, 1, 25) not in b3(2023).closed
    assert date(2023, 11, 20) not in b3(2023).closed


def test_the_us_closes_early_on_its_short_days_and_never_on_a_holiday() -> None:
    assert weekdays_of(us(2024).early) == "07-03 11-29 12-24"
    assert weekdays_of(us(2021).early) == "11-26"  # Christmas on a Saturday is kept on the 24th
    assert date(2020, 7, 3) in us(2020).closed
    assert date(2022, 1, 1) not in us(2022).closed
    assert date(2021, 12, 31) not in us(2021).closed
    session = US.session_on_or_after(ns("2024-11-29T12:00"))
    assert (session.day, session.close_ns) == (20241129, ns("2024-11-29T18:00"))
    assert US.session_at(ns("2012-10-29T15:00")) is None


def test_ash_wednesday_opens_late() -> None:
    session = B3.session_on_or_after(ns("2024-02-12T00:00"))
    assert (session.day, session.open_ns) == (20240214, ns("2024-02-14T16:00"))


def test_brazils_summer_time_until_2019() -> None:
    # UTC-2 in summer time, which ended on 17 February 2019 for good.
    assert B3.session_on_or_after(ns("2019-02-15T00:00")).open_ns == ns("2019-02-15T11:00")
    assert B3.session_on_or_after(ns("2019-02-18T00:00")).open_ns == ns("2019-02-18T12:00")
    assert B3.session_on_or_after(ns("2017-10-13T12:00")).open_ns == ns("2017-10-13T12:00")
    assert B3.session_on_or_after(ns("2017-10-16T00:00")).open_ns == ns("2017-10-16T11:00")
    assert B3.session_on_or_after(ns("2019-12-16T00:00")).open_ns == ns("2019-12-16T12:00")


def test_years_before_the_rules_have_no_holidays() -> None:
    assert not b3(2009).closed
    assert not us(1999).closed
    assert not us(2012).early


def test_settings_that_do_not_fit_are_refused() -> None:
    hours = {"timezone": "UTC", "open": "09:00", "close": "17:00"}
    with pytest.raises(ValueError, match="unknown exchange to observe: expected one of b3, us, comex, got 'lse'"):
        SessionCalendar(**hours, observes="lse")
    with pytest.raises(ValueError, match="expected an exchange in observes"):
        SessionCalendar(**hours, late_open="10:00")
    with pytest.raises(ValueError, match="session has no length"):
        SessionCalendar(**hours, observes="us", early_close="08:00")
    assert SessionCalendar(**hours).key != SessionCalendar(**hours, observes="us").key
