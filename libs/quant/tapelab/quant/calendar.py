"""Trading sessions: which prints belong to which trading day."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tapelab.quant.holidays import RULES, SpecialDays

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_NS: Final = 1_000_000_000
_MAX_CLOSED_DAYS: Final = 3_700  # a calendar that stays closed for ten years is a mistake
#: Of markets that close at weekends; ``SessionCalendar.days_per_year`` is a market's own.
TRADING_DAYS_PER_YEAR: Final = 252


class Session(NamedTuple):
    """One trading session: the half-open span ``[open_ns, close_ns)`` of event time.

    Args:
        day: local date as YYYYMMDD.
        open_ns: first nanosecond of the session, UTC.
        close_ns: first nanosecond after it, UTC.
    """

    day: int
    open_ns: int
    close_ns: int


class SessionCalendar:
    """The sessions of one market: at most one per local date.

    Local times are read in the given zone, so a session keeps its wall-clock hours across a change to
    summer time. Sessions are computed once per date and kept.

    Args:
        timezone: IANA name, such as ``America/Sao_Paulo``.
        open: local opening time HH:MM.
        close: local closing time HH:MM, later than ``open``; 24:00 is the following midnight.
        weekdays: dates that trade, Monday is 0.
        holidays: local dates YYYY-MM-DD that do not.
        observes: name of an exchange whose holidays and short days hold as well, a key of
            :data:`~tapelab.quant.holidays.RULES`; empty for none.
        late_open: opening time on the days that exchange opens late; empty to open as ever.
        early_close: closing time on the days it closes early; empty to close as ever.

    Raises:
        ValueError: an unknown zone or exchange, a malformed time or date, an empty session or no weekday
            at all.
    """

    def __init__(
        self,
        *,
        timezone: str,
        open: str,
        close: str,
        weekdays: Collection[int] = (0, 1, 2, 3, 4),
        holidays: Collection[str] = (),
        observes: str = "",
        late_open: str = "",
        early_close: str = "",
    ) -> None:
        try:
            self._zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown time zone: expected an IANA name, got {timezone!r}") from error
        self._open_minute = _minute_of_day(open)
        self._close_minute = _minute_of_day(close)
        self._late_minute = _minute_of_day(late_open or open)
        self._early_minute = _minute_of_day(early_close or close)
        if max(self._open_minute, self._late_minute) >= min(self._close_minute, self._early_minute):
            shown = f"{late_open or open!r} to {early_close or close!r}"
            raise ValueError(f"session has no length: expected open before close, got {shown}")
        if observes and observes not in RULES:
            raise ValueError(f"unknown exchange to observe: expected one of {', '.join(RULES)}, got {observes!r}")
        if (late_open or early_close) and not observes:
            raise ValueError("late_open and early_close: expected an exchange in observes, got none")
        if not weekdays or not set(weekdays) <= set(range(7)):
            raise ValueError(f"weekdays: expected at least one of 0 (Monday) to 6, got {sorted(weekdays)}")
        self._weekdays = frozenset(weekdays)
        self._holidays = frozenset(date.fromisoformat(day) for day in holidays)
        self._rules = RULES.get(observes)
        self._special: dict[int, SpecialDays] = {}
        self._sessions: dict[date, Session | None] = {}
        self._last = Session(0, 0, 0)
        self._key = (
            f"{timezone} {open}-{close} weekdays={','.join(map(str, sorted(self._weekdays)))} "
            f"holidays={','.join(day.isoformat() for day in sorted(self._holidays))}"
        )
        if observes:
            self._key += f" observes={observes} late_open={late_open} early_close={early_close}"

    @property
    def key(self) -> str:
        """Canonical text of the calendar: equal exactly where the sessions are configured equally."""
        return self._key

    @property
    def days_per_year(self) -> int:
        """Trading days of a year, by which daily ratios are annualised: 365 where every weekday trades."""
        return 365 if len(self._weekdays) == 7 else TRADING_DAYS_PER_YEAR

    def session_at(self, ts_ns: int) -> Session | None:
        """The session that contains an event time, ``None`` out of session."""
        last = self._last
        if last.open_ns <= ts_ns < last.close_ns:
            return last
        session = self._on(self._local_date(ts_ns))
        if session is None or not session.open_ns <= ts_ns < session.close_ns:
            return None
        self._last = session
        return session

    def session_on_or_after(self, ts_ns: int) -> Session:
        """The session that contains an event time, or the next one.

        Raises:
            ValueError: no session within ten years.
        """
        day = self._local_date(ts_ns)
        for _ in range(_MAX_CLOSED_DAYS):
            session = self._on(day)
            if session is not None and ts_ns < session.close_ns:
                return session
            day += timedelta(days=1)
        raise ValueError(f"no session in the ten years after {ts_ns} ns: expected one, got {self._key}")

    def utc_offset_s(self, ts_ns: int) -> int:
        """Seconds by which the zone's wall clock is ahead of UTC at an event time."""
        offset = datetime.fromtimestamp(ts_ns // _SECOND_NS, self._zone).utcoffset()
        return offset.days * 86_400 + offset.seconds if offset is not None else 0

    def _local_date(self, ts_ns: int) -> date:
        return datetime.fromtimestamp(ts_ns // _SECOND_NS, self._zone).date()

    def _on(self, day: date) -> Session | None:
        if day not in self._sessions:
            special = self._special_days(day.year)
            trades = day.weekday() in self._weekdays and day not in self._holidays and day not in special.closed
            self._sessions[day] = self._build(day, special) if trades else None
        return self._sessions[day]

    def _special_days(self, year: int) -> SpecialDays:
        if year not in self._special:
            self._special[year] = self._rules(year) if self._rules else SpecialDays()
        return self._special[year]

    def _build(self, day: date, special: SpecialDays) -> Session:
        return Session(
            day.year * 10_000 + day.month * 100 + day.day,
            self._instant_ns(day, self._late_minute if day in special.late else self._open_minute),
            self._instant_ns(day, self._early_minute if day in special.early else self._close_minute),
        )

    def _instant_ns(self, day: date, minute: int) -> int:
        local = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)
        since = local.replace(tzinfo=self._zone) - _EPOCH
        return (since.days * 86_400 + since.seconds) * _SECOND_NS


def _minute_of_day(text: str) -> int:
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdigit() and minute.isdigit() and len(minute) == 2):
        raise ValueError(f"session time: expected HH:MM, got {text!r}")
    total = int(hour) * 60 + int(minute)
    if total > 1_440 or int(minute) > 59:
        raise ValueError(f"session time: expected 00:00 to 24:00, got {text!r}")
    return total
