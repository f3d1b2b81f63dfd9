"""Seeded tapes and hypothesis strategies for bar tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.dtypes import TICK_COLUMNS, TickFlag
from tapelab.quant.ticks import Ticks

CALENDAR = SessionCalendar(timezone="America/Sao_Paulo", open="09:00", close="17:00", holidays=("2024-02-13",))
TYPES = (2, 3, 13)
MONDAY = CALENDAR.session_on_or_after(1_707_696_000_000_000_000)  # 2024-02-12
SECOND = 1_000_000_000


def sessions(count: int) -> list[Any]:
    found = [MONDAY]
    while len(found) < count:
        found.append(CALENDAR.session_on_or_after(found[-1].close_ns))
    return found


def ticks_of(rows: list[tuple[Any, ...]]) -> Ticks:
    """Rows in the order of ``TICK_COLUMNS``."""
    if not rows:
        return Ticks.empty()
    columns = zip(*rows, strict=True)
    return Ticks(*(np.array(column, dtype) for (_, dtype), column in zip(TICK_COLUMNS, columns, strict=True)))


def simple(prices: list[float], *, volumes: list[float] | None = None, times_s: list[float] | None = None) -> Ticks:
    """Buyer-initiated prints of the first session, one a second from its open where no times are given."""
    times = times_s or [float(i) for i in range(len(prices))]
    lots = volumes or [1.0] * len(prices)
    return ticks_of(
        [
            (MONDAY.open_ns + round(t * SECOND), p, v, 1, 1, 2, 0, 0, 0, i)
            for i, (p, v, t) in enumerate(zip(prices, lots, times, strict=True))
        ]
    )


def seeded(n: int, *, seed: int, days: int = 3, agents: bool = True) -> Ticks:
    """A tape with every kind of trouble: n prints over some sessions."""
    rng = np.random.default_rng(seed)
    spans = sessions(days)
    day = np.sort(rng.integers(0, days, n))
    opens = np.array([s.open_ns for s in spans])[day]
    length = MONDAY.close_ns - MONDAY.open_ns
    ts = opens + rng.integers(-length // 50, length + length // 50, n)
    order = np.lexsort((ts, day))
    ts = ts[order]
    jitter = rng.random(n) < 0.05
    ts[jitter] -= rng.integers(0, 20 * SECOND, int(jitter.sum()))
    ts[rng.random(n) < 0.1] //= SECOND
    ts[ts < 10**12] *= SECOND
    price = 5.0 * (20_000 + np.cumsum(rng.choice([-1, 0, 1], n, p=[0.2, 0.6, 0.2])))
    price[rng.random(n) < 0.01] = np.nan
    price[rng.random(n) < 0.005] = np.inf
    price[rng.random(n) < 0.005] = 0.0
    volume = np.round(rng.pareto(1.5, n) * 3, 2)
    volume[rng.random(n) < 0.01] = 50_000.0
    volume[rng.random(n) < 0.005] = np.nan
    trade_type = rng.choice([2, 3, 13, 4, 1], n, p=[0.44, 0.44, 0.04, 0.04, 0.04])
    aggressor = np.select([trade_type == 2, trade_type == 3], [1, -1], 0)
    flags = np.where(rng.random(n) < 0.02, rng.choice([int(TickFlag.SUSPICIOUS), int(TickFlag.CANCELLED)], n), 0)
    codes = rng.integers(0, 40, (2, n)) if agents else np.zeros((2, n))
    columns = (ts, price, volume, aggressor, np.ones(n), trade_type, flags, codes[0], codes[1], np.arange(n))
    return Ticks(*(column.astype(dtype) for (_, dtype), column in zip(TICK_COLUMNS, columns, strict=True)))


@st.composite
def tapes(draw: st.DrawFn, max_rows: int = 60) -> Ticks:
    """Short tapes of up to four sessions where anything may happen."""
    spans = sessions(4)
    steps = st.sampled_from([0, 0, 1, SECOND // 2, SECOND, 5 * SECOND, 31 * SECOND, 301 * SECOND, -1, -2 * SECOND])
    jumps = st.sampled_from(["open", "close", "late", "between", "next"])
    position = 0
    ts = spans[0].open_ns
    rows = []
    for i in range(draw(st.integers(0, max_rows))):
        if draw(st.integers(0, 9)) == 0:
            kind = draw(jumps)
            if kind == "next":
                position = min(position + 1, len(spans) - 1)
            session = spans[position]
            ts = {
                "open": session.open_ns,
                "close": session.close_ns - draw(st.integers(0, 1)),
                "late": spans[max(position - 1, 0)].close_ns - 1,
                "between": session.open_ns - 1,
                "next": session.open_ns,
            }[kind]
        else:
            ts += draw(steps)
        rows.append(
            (
                ts,
                draw(st.sampled_from([100.0, 100.0, 100.5, 99.5, 101.25, 87.1, np.nan, np.inf, -1.0, 0.0])),
                draw(st.sampled_from([1.0, 2.0, 0.1, 0.3, 0.0, 7.7, 1e6, np.nan, -1.0, np.inf])),
                draw(st.sampled_from([-1, 0, 1])),
                1,
                draw(st.sampled_from([2, 2, 2, 3, 13, 4])),
                draw(st.sampled_from([0, 0, 0, 0, int(TickFlag.AUCTION), int(TickFlag.RLP), int(TickFlag.SUSPICIOUS)])),
                draw(st.sampled_from([0, 0, 3, 7, -5, 2**31 - 1])),
                draw(st.sampled_from([0, 3, 8, 2**30])),
                i,
            )
        )
    return ticks_of(rows)
