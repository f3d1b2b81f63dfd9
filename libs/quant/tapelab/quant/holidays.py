"""Days on which B3, the US stock exchanges and COMEX are closed, open late or close early, by rule.

Sources: B3's trading calendars (holidays of the city and the state of Sao Paulo were kept until 2021; 20 November
is national since 2024; 24 December and the last weekday of the year have no session; Ash Wednesday opens at 13:00;
its letter of June 2020 on the holidays that were brought forward), NYSE rule 7.2 with the exchange's published early
closings and closures out of turn, and CME Group's holiday calendar of metals. B3's and COMEX's rules hold from 2010,
NYSE's from 2000 (its short days from 2013); earlier years are taken to have no holidays, so that no print is lost to
a guess. An exchange's notice that departs from a rule goes into ``holidays`` of ``config/instruments.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Final, NamedTuple


class SpecialDays(NamedTuple):
    """Local dates of one year that are not ordinary.

    Args:
        closed: without a session.
        late: open late.
        early: close early.
    """

    closed: frozenset[date] = frozenset()
    late: frozenset[date] = frozenset()
    early: frozenset[date] = frozenset()


def easter(year: int) -> date:
    """Easter Sunday, Gregorian calendar (the anonymous algorithm: Nature 13, 1876; Meeus 1991)."""
    a, b, c = year % 19, year // 100, year % 100
    g = (8 * b + 13) // 25
    h = (19 * a + b - b // 4 - g + 15) % 30
    k = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * k) // 451
    month, day = divmod(h + k - 7 * m + 114, 31)
    return date(year, month, day + 1)


def b3(year: int) -> SpecialDays:
    """B3, from 2010."""
    if year < 2010:
        return SpecialDays()
    sunday = easter(year)
    closed = {sunday + timedelta(days=days) for days in (-48, -47, -2, 60)}  # carnival, Good Friday, Corpus Christi
    fixed = [(1, 1), (4, 21), (5, 1), (9, 7), (10, 12), (11, 2), (11, 15), (12, 24), (12, 25)]
    if year <= 2021:
        fixed += [(1, 25), (7, 9), (11, 20)]
    elif year >= 2024:
        fixed.append((11, 20))
    closed |= {date(year, month, day) for month, day in fixed}
    last = date(year, 12, 31)
    closed.add(last - timedelta(days=max(last.weekday() - 4, 0)))
    closed -= {date(2020, 7, 9), date(2020, 11, 20)}  # brought forward to May 2020, and traded
    if year == 2014:
        closed.add(date(2014, 6, 12))  # the football world cup opened in Sao Paulo
    return SpecialDays(frozenset(closed), late=frozenset({sunday - timedelta(days=46)}))


#: Closures of NYSE that no rule gives: mourning, the attacks of 2001, hurricane Sandy.
_NYSE_CLOSED: Final = tuple(
    date.fromisoformat(day)
    for day in (
        *("2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14", "2004-06-11", "2007-01-02"),
        *("2012-10-29", "2012-10-30", "2018-12-05", "2025-01-09"),
    )
)


def us(year: int) -> SpecialDays:
    """NYSE and Nasdaq, from 2000; short days from 2013."""
    if year < 2000:
        return SpecialDays()
    thanksgiving = _nth(year, 11, 3, 4)
    closed = {
        _nth(year, 1, 0, 3),  # Martin Luther King
        _nth(year, 2, 0, 3),  # Washington
        easter(year) - timedelta(days=2),
        _nth(year, 6, 0, 1) - timedelta(days=7),  # Memorial Day, the last Monday of May
        _observed(date(year, 7, 4)),
        _nth(year, 9, 0, 1),  # Labor Day
        thanksgiving,
        _observed(date(year, 12, 25)),
    }
    new_year = date(year, 1, 1)
    if new_year.weekday() != 5:  # on a Saturday it is not kept the Friday before
        closed.add(_observed(new_year))
    if year >= 2022:
        closed.add(_observed(date(year, 6, 19)))
    closed |= {day for day in _NYSE_CLOSED if day.year == year}
    early = {thanksgiving + timedelta(days=1), date(year, 7, 3), date(year, 12, 24)} if year >= 2013 else set()
    return SpecialDays(frozenset(closed), early=frozenset(early - closed))


def comex(year: int) -> SpecialDays:
    """COMEX metals, from 2010: the days without trading before the evening.

    On other US holidays trading only pauses; what follows 18:00 on a closed day belongs to the next trading day.
    """
    if year < 2010:
        return SpecialDays()
    closed = {easter(year) - timedelta(days=2), _observed(date(year, 12, 25))}
    new_year = date(year, 1, 1)
    if new_year.weekday() != 5:
        closed.add(_observed(new_year))
    return SpecialDays(frozenset(closed))


#: What ``observes`` in ``config/instruments.yaml`` may name.
RULES: Final[Mapping[str, Callable[[int], SpecialDays]]] = {"b3": b3, "us": us, "comex": comex}


def _nth(year: int, month: int, weekday: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def _observed(day: date) -> date:
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))
