"""Where the first part of a tape ends."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

from tapelab.common.errors import ConfigError
from tapelab.quant.calendar import SessionCalendar

_MINUTE_NS: Final = 60_000_000_000


def find_cut(cut: str, first_ns: int, last_ns: int, calendars: Iterable[SessionCalendar]) -> int | None:
    """Event time at which the second part begins; None plays the tape in one piece.

    A fraction is of the tape's trading days, rounded, at least one on either side; the cut is the first
    opening of the day that begins the second part. A tape of a single day is cut by time, at a full minute.

    Raises:
        ConfigError: the setting is malformed, or names a day that leaves a part empty.
    """
    if cut == "none":
        return None
    opens = _opens(first_ns, last_ns, calendars)
    days = sorted(opens)
    try:
        day = int(date.fromisoformat(cut).strftime("%Y%m%d"))
    except ValueError:
        fraction = _fraction(cut)
        if len(days) < 2:
            return int(first_ns + fraction * (last_ns - first_ns)) // _MINUTE_NS * _MINUTE_NS
        return opens[days[max(1, min(len(days) - 1, round(fraction * len(days))))]]
    if day not in days[1:]:
        raise ConfigError(
            f"TAPELAB_INGEST_CUT={cut} does not cut the tape",
            expected=f"a trading day of the tape after its first: {', '.join(map(str, days[1:])) or 'it has only one'}",
            actual=cut,
            remedy="name such a day, or a fraction such as 0.75",
        )
    return opens[day]


def _opens(first_ns: int, last_ns: int, calendars: Iterable[SessionCalendar]) -> dict[int, int]:
    opens: dict[int, int] = {}
    for calendar in calendars:
        session = calendar.session_on_or_after(first_ns)
        while session.open_ns <= last_ns:
            opens[session.day] = min(session.open_ns, opens.get(session.day, session.open_ns))
            session = calendar.session_on_or_after(session.close_ns)
    return opens


def _fraction(cut: str) -> float:
    try:
        fraction = float(cut)
    except ValueError:
        fraction = -1.0
    if not 0 < fraction < 1:
        raise ConfigError(
            f"TAPELAB_INGEST_CUT={cut!r} is wrong",
            expected="a fraction between 0 and 1, a day YYYY-MM-DD, or none",
            actual=cut,
            remedy="correct the setting",
        )
    return fraction
