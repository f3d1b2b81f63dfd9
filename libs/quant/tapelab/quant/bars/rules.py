"""Which prints enter bars."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
import numpy.typing as npt

from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.dtypes import TickFlag, TradeType
from tapelab.quant.ticks import Ticks

#: Prints with any of these flags stay out of bars.
EXCLUDED_FLAGS: Final = int(TickFlag.SUSPICIOUS | TickFlag.CANCELLED)
#: A print that a retail liquidity provider took bears this flag or this trade type.
RLP_FLAG: Final = int(TickFlag.RLP)
RLP_TYPE: Final = int(TradeType.RLP)
#: A print is large when its volume is at least this many times the mean of the day's earlier eligible prints
#: (1 to 3 % of prints and a fifth to a third of the volume, on stocks and on the synthetic tape) ...
LARGE_TIMES: Final = 5.0
#: ... of which there must be so many; before that, none is.
LARGE_AFTER: Final = 100
#: Prices from ``LEAST`` to ``MOST`` and volumes up to ``MOST``: beyond it floats hold no whole lots, and within it no
#: sum of a day and no return can overflow.
MOST: Final = 2.0**53
LEAST: Final = 2.0**-53
#: Event times from 1970 to 2116; anything else is no time, and session arithmetic on it would overflow.
LAST_TS_NS: Final = 2**62


def trade_type_table(bar_trade_types: Collection[int]) -> npt.NDArray[np.bool_]:
    """Shape ``(256,)``: whether a trade type enters bars.

    Raises:
        ValueError: a trade type outside 0..255, or none at all.
    """
    types = sorted(set(bar_trade_types))
    if not types or types[0] < 0 or types[-1] > 255:
        raise ValueError(f"bar trade types: expected at least one of 0..255, got {types}")
    table = np.zeros(256, np.bool_)
    table[types] = True
    return table


def eligible(ticks: Ticks, calendar: SessionCalendar, bar_trade_types: Collection[int]) -> npt.NDArray[np.bool_]:
    """Which prints of a whole tape enter bars, shape ``(n,)``; what the bar kernel decides print by print.

    A print is eligible when its trade type is listed, it is neither suspicious nor cancelled, its price is
    from ``LEAST`` to ``MOST``, its volume from 0 (allowed) to ``MOST``, its event time is from 1970 to 2116 and
    lies in the session that is current or in a later one. A later session becomes current with its first
    eligible print; prints of earlier sessions that come after that are late, and out.
    """
    with np.errstate(invalid="ignore"):
        passes = (
            trade_type_table(bar_trade_types)[ticks.trade_type]
            & ((ticks.flags & EXCLUDED_FLAGS) == 0)
            & (ticks.price >= LEAST)
            & (ticks.price <= MOST)
            & (ticks.volume >= 0.0)
            & (ticks.volume <= MOST)
            & (ticks.ts_event_ns >= 0)
            & (ticks.ts_event_ns < LAST_TS_NS)
        )
    mask = np.zeros(ticks.n, np.bool_)
    rows = np.flatnonzero(passes)
    while len(rows):
        ts_ns = ticks.ts_event_ns[rows]
        session = calendar.session_on_or_after(int(ts_ns[0]))
        if ts_ns[0] < session.open_ns:
            # Out of session: everything up to the next open that follows in one run is out as well.
            closed = (ts_ns >= ts_ns[0]) & (ts_ns < session.open_ns)
            rows = rows[np.argmin(closed) :] if not closed.all() else rows[:0]
            continue
        following = calendar.session_on_or_after(session.close_ns).open_ns
        later = np.flatnonzero(ts_ns >= following)
        stop = next((int(row) for row in later if calendar.session_at(int(ts_ns[row])) is not None), len(rows))
        current = rows[:stop]
        here = ts_ns[:stop]
        mask[current[(here >= session.open_ns) & (here < session.close_ns)]] = True
        rows = rows[stop:]
    return mask
