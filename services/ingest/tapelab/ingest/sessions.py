"""Telling when a session of a symbol is over, from its prints."""

from __future__ import annotations

import numpy as np

from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.ticks import Ticks


class SessionMarks:
    """Cuts one symbol's prints at the ends of its sessions.

    The tape's time is the running maximum of event time, so a late print never reopens a session.
    """

    def __init__(self, calendar: SessionCalendar) -> None:
        self._calendar = calendar
        self._latest = np.iinfo(np.int64).min
        self._close_ns = 0

    @property
    def close_ns(self) -> int:
        """Close of the session that prints have come for and that has not ended yet; 0 without one."""
        return self._close_ns

    def split(self, ticks: Ticks) -> list[Ticks | int]:
        """The prints in order, with the close of each session that ends among them where it ends."""
        parts: list[Ticks | int] = []
        if ticks.n == 0:
            return parts
        order = np.maximum(np.maximum.accumulate(ticks.ts_event_ns), self._latest)
        self._latest = int(order[-1])
        at = 0
        while at < ticks.n:
            ended = self.passed(int(order[at]))
            if ended is not None:
                parts.append(ended)
            session = self._calendar.session_on_or_after(int(order[at]))
            if session.open_ns <= order[at]:
                self._close_ns = boundary = session.close_ns
            else:
                boundary = session.open_ns
            stop = int(np.searchsorted(order, boundary, side="left"))
            parts.append(ticks.slice(at, stop))
            at = stop
        return parts

    def passed(self, now_ns: int) -> int | None:
        """The close of the open session if ``now_ns`` has reached it; the session is over then."""
        return self.end() if self._close_ns and now_ns >= self._close_ns else None

    def end(self) -> int | None:
        """The close of the open session, which is over now: the tape has ended."""
        close_ns, self._close_ns = self._close_ns, 0
        return close_ns or None
