"""Bars the slow and readable way: one print after the other, in plain Python.

It says what the kernel computes, in the same order of operations, so that tests compare bits; only the sums over
trailing windows are the exact ones, which the kernel comes within rounding of. It keeps every print of the day and
has no other use.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tapelab.quant.bars.rules import (
    EXCLUDED_FLAGS,
    LARGE_AFTER,
    LARGE_TIMES,
    LAST_TS_NS,
    LEAST,
    MOST,
    RLP_FLAG,
    RLP_TYPE,
)
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.calendar import Session, SessionCalendar
from tapelab.quant.dtypes import BAR_DTYPE, TRAILING_WINDOWS, BarFlag
from tapelab.quant.ticks import Ticks


@dataclass
class _Day:
    """The eligible prints of the current session, and what they have traded."""

    session: Session
    clock: list[int] = field(default_factory=list)
    price: list[float] = field(default_factory=list)
    volume: list[float] = field(default_factory=list)
    signed: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)
    total: float = 0.0


@dataclass
class _Print:
    seq: int
    book_seq: int
    clock: int
    price: float
    volume: float
    aggressor: int
    change: float  # against the eligible print before it
    square: float
    buy_agent: int
    sell_agent: int
    rlp: bool
    large: bool


class ReferenceBars:
    """One specification's bars over one symbol; the same methods as ``BarBuilder``, with single results."""

    def __init__(self, spec: BarSpec, calendar: SessionCalendar, bar_trade_types: Collection[int]) -> None:
        self._spec = spec
        self._calendar = calendar
        self._types = frozenset(bar_trade_types)
        self.new_stream()

    def new_stream(self) -> None:
        """Forget everything."""
        self._day: _Day | None = None
        self._pending: list[_Print] = []
        self._last = (0, 0)  # seq and book_seq of the last eligible print
        self._floor_ns = -(2**63)
        self._seq = 0
        self._bar_day = 0
        self._after_gap = False

    def reset(self, after_gap: bool) -> None:
        """Forget the current day."""
        if self._day is not None:
            self._floor_ns = self._day.session.open_ns
        self._day, self._pending = None, []
        self._after_gap = self._after_gap or after_gap

    def update(self, ticks: Ticks, first_seq: int, book_seq: int = 0) -> npt.NDArray[np.void]:
        """Take prints; the bars that closed."""
        bars: list[tuple[Any, ...]] = []
        for row in range(ticks.n):
            values = [column[row].item() for column in ticks]
            ts_ns, price, volume, aggressor, _, trade_type, flags, buy_agent, sell_agent, _ = values
            if trade_type not in self._types or flags & EXCLUDED_FLAGS:
                continue
            if not (LEAST <= price <= MOST and 0.0 <= volume <= MOST and 0 <= ts_ns < LAST_TS_NS):
                continue
            session = self._calendar.session_at(ts_ns)
            current = self._day.session if self._day else None
            if session is None or ts_ns < (current.open_ns if current else self._floor_ns):
                continue
            if self._day is None or session != self._day.session:
                bars += self._close_day()
                self._day = _Day(session)
            day = self._day
            clock = max(ts_ns, day.clock[-1]) if day.clock else ts_ns
            before = day.price[-1] if day.price else price
            square = math.log(price / before) * math.log(price / before) if price != before else 0.0
            seq = first_seq + row
            signed = volume if aggressor > 0 else -volume if aggressor < 0 else 0.0
            rlp = bool(flags & RLP_FLAG) or trade_type == RLP_TYPE
            large = _is_large(volume, day)
            change = price - before
            latest = _Print(
                seq, book_seq, clock, price, volume, aggressor, change, square, buy_agent, sell_agent, rlp, large
            )
            if self._spec.kind == "time" and self._pending and clock >= self._interval_end():
                bars.append(self._bar(self._interval_end(), 0))
            day.clock.append(clock)
            day.price.append(price)
            day.volume.append(volume)
            day.signed.append(signed)
            day.squares.append(square)
            day.total += volume
            self._pending.append(latest)
            self._last = (seq, book_seq)
            if self._measure() >= self._spec.threshold:
                bars.append(self._bar(clock, 0))
        return np.array(bars, BAR_DTYPE)

    def end_session(self, session_end_ns: int) -> npt.NDArray[np.void]:
        """The session that closes at this time is over."""
        bars: list[tuple[Any, ...]] = []
        if self._day is not None and session_end_ns >= self._day.session.close_ns:
            bars = self._close_day()
        if self._day is None:
            self._floor_ns = max(self._floor_ns, session_end_ns)
        return np.array(bars, BAR_DTYPE)

    def end_tape(self) -> npt.NDArray[np.void]:
        """No print follows."""
        return np.array(self._close_day(), BAR_DTYPE)

    def _close_day(self) -> list[tuple[Any, ...]]:
        if self._day is None:
            return []
        close_ns = self._day.session.close_ns
        bar = self._bar(close_ns, int(BarFlag.SESSION_END))
        self._day, self._floor_ns = None, close_ns
        return [bar]

    def _measure(self) -> float:
        match self._spec.kind:
            case "tick":
                return len(self._pending)
            case "volume":
                return _total(p.volume for p in self._pending)
            case "dollar":
                return _total(p.price * p.volume for p in self._pending)
            case "time":
                return -math.inf

    def _interval_end(self) -> int:
        assert self._day is not None
        open_ns, width = self._day.session.open_ns, self._spec.interval_ns
        return open_ns + ((self._pending[0].clock - open_ns) // width + 1) * width

    def _bar(self, ts_close_ns: int, flags: int) -> tuple[Any, ...]:
        day, pending = self._day, self._pending
        assert day is not None
        seq, book_seq = self._last
        n = len(pending)
        close = day.price[-1]
        prices = [p.price for p in pending] or [close]
        volume = _total(p.volume for p in pending)
        dollar = _total(p.price * p.volume for p in pending)
        mean_ns = var_ns2 = 0.0
        if n > 1:
            mean_ns = (pending[-1].clock - pending[0].clock) / (n - 1)
            squares = _total(float(b.clock - a.clock) * float(b.clock - a.clock) for a, b in pairwise(pending))
            var_ns2 = max(squares / (n - 1) - mean_ns * mean_ns, 0.0)
        bought = _by_agent((p.buy_agent, p.volume) for p in pending)
        sold = _by_agent((p.sell_agent, p.volume) for p in pending)
        flags |= BarFlag.AFTER_GAP if self._after_gap else 0
        flags |= BarFlag.FIRST_OF_DAY if self._bar_day != day.session.day else 0
        bar = (
            self._seq,
            day.session.day,
            flags,
            day.session.open_ns,
            day.session.close_ns,
            pending[0].clock if n else ts_close_ns,
            ts_close_ns,
            pending[0].seq if n else seq + 1,
            seq,
            book_seq,
            n,
            sum(p.aggressor > 0 for p in pending),
            sum(p.aggressor < 0 for p in pending),
            sum(p.change > 0 for p in pending),
            sum(p.change < 0 for p in pending),
            prices[0],
            max(prices),
            min(prices),
            close,
            volume,
            dollar,
            _total(p.volume for p in pending if p.aggressor > 0),
            _total(p.volume for p in pending if p.aggressor < 0),
            dollar / volume if volume > 0 else close,
            mean_ns * 1e-9,
            var_ns2 * 1e-18,
            _total(p.square for p in pending),
            _concentration(bought),
            _concentration(sold),
            *(measure for _, width_ns in TRAILING_WINDOWS for measure in _window(day, ts_close_ns, width_ns)),
            _total(p.volume for p in pending if p.rlp),
            _total(p.volume for p in pending if p.large),
            _total(p.volume * _sign(p.aggressor) for p in pending if p.large),
            _top3_share(bought),
            _top3_share(sold),
            *_net_top3(bought, sold),
            float(self._calendar.utc_offset_s(day.session.open_ns)),
        )
        self._seq += 1
        self._bar_day = day.session.day
        self._after_gap = False
        self._pending = []
        return bar


def _window(day: _Day, ts_close_ns: int, width_ns: int) -> tuple[float, float, float, float, float]:
    """(ret, volume, signed volume, n, rv) over the day's prints with clock in ``(ts_close - width, ts_close]``."""
    first = bisect_right(day.clock, ts_close_ns - width_ns)
    n = len(day.clock) - first
    # The kernel takes differences of sums in two floats, which come within rounding of these exact ones.
    sums = [math.fsum(values[first:]) for values in (day.volume, day.signed, day.squares)]
    return (math.log(day.price[-1] / day.price[first]) if n else 0.0), sums[0], sums[1], float(n), sums[2]


def _total(values: Any) -> float:
    # The built-in sum compensates its rounding from Python 3.12 on; the kernel adds plainly.
    total = 0.0
    for value in values:
        total += value
    return total


def _sign(aggressor: int) -> int:
    return (aggressor > 0) - (aggressor < 0)


def _is_large(volume: float, day: _Day) -> bool:
    """Against the mean of the day's earlier prints; multiplied out, so that no division rounds."""
    earlier = len(day.volume)
    return earlier >= LARGE_AFTER and volume > 0.0 and volume * earlier >= LARGE_TIMES * day.total


def _by_agent(shares: Any) -> dict[int, float]:
    """Volume by known agent, in order of each one's first volume."""
    volumes: dict[int, float] = {}
    for agent, volume in shares:
        if agent and volume > 0.0:
            volumes[agent] = volumes.get(agent, 0.0) + volume
    return volumes


def _concentration(volumes: dict[int, float]) -> float:
    total = _total(volumes.values())
    return _total(v * v for v in volumes.values()) / (total * total) if total > 0 else math.nan


def _top3(values: Iterable[float]) -> float:
    return _total(sorted((v for v in values if v > 0.0), reverse=True)[:3])


def _top3_share(volumes: dict[int, float]) -> float:
    total = _total(volumes.values())
    return min(_top3(volumes.values()) / total, 1.0) if total > 0 else math.nan


def _net_top3(bought: dict[int, float], sold: dict[int, float]) -> tuple[float, float]:
    if not bought or not sold:
        return math.nan, math.nan
    net = [bought.get(agent, 0.0) - sold.get(agent, 0.0) for agent in {**bought, **sold}]
    return _top3(net), _top3(-n for n in net)
