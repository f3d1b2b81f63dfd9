"""Prints to drive the pipeline with: as many symbols as wanted, at an exact rate by the tape's own clock."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

import numpy as np

from tapelab.common.instruments import Instruments
from tapelab.quant.ticks import Ticks

EXCHANGE: Final = "B3"
LINEAGE: Final = "bench"
_MONTHS: Final = "FGHJKMNQUVXZ"
_FIRST_DAY: Final = date(2026, 11, 4)


def symbols(count: int) -> list[str]:
    """So many contracts of the mini index future, as ``config/instruments.yaml`` knows them."""
    return [f"WIN{_MONTHS[i % 12]}{26 + i // 12}" for i in range(count)]


def opening_ns(instruments: Instruments, symbol: str, day: int = 0) -> int:
    """When the symbol's session of the tape's ``day``-th trading day opens."""
    calendar = instruments.calendar(symbol)
    begin_ns = (_FIRST_DAY - date(1970, 1, 1)) // timedelta(days=1) * 86_400_000_000_000
    session = calendar.session_on_or_after(begin_ns)
    for _ in range(day):
        session = calendar.session_on_or_after(session.close_ns)
    return session.open_ns


def prints(n: int, *, seed: int, first_ns: int, step_ns: int) -> Ticks:
    """``n`` prints of one symbol, one every ``step_ns``: a random walk on the tick grid with sizes of a few lots."""
    random = np.random.default_rng(seed)
    side = np.where(random.random(n) < 0.5, 1, -1)
    moves = np.where(random.random(n) < 0.3, side, 0)
    agents = np.array([3, 85, 8, 114, 16, 40, 238, 72, 308, 39], np.int32)
    return Ticks(
        ts_event_ns=first_ns + np.arange(n, dtype=np.int64) * step_ns,
        price=180_000.0 + 5.0 * np.cumsum(moves),
        volume=random.integers(1, 6, n).astype(np.float64),
        aggressor=side.astype(np.int8),
        aggressor_source=np.ones(n, np.uint8),
        trade_type=np.where(side > 0, 2, 3).astype(np.uint8),
        flags=np.zeros(n, np.uint16),
        buy_agent=agents[random.integers(0, len(agents), n)],
        sell_agent=agents[random.integers(0, len(agents), n)],
        trade_id=np.arange(n, dtype=np.int64),
    )
