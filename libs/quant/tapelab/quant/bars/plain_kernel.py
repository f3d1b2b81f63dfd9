"""The plain bar recurrence: prices, sums and counts of one specification, without trailing windows.

Prints go through in blocks. A block that lies in the session, in order of time, with nothing to leave out is
used where it stands; any other is first packed into buffers. Both then take the same walk: the bars' ends are
found first, and each bar's stretch of prints is then summed by itself (:mod:`~tapelab.quant.bars.plain_sums`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import njit
from tapelab.quant.bars.eligibility import INF_BITS, all_sound, in_order, none_barred
from tapelab.quant.bars.intake import DONE, OTHER_SESSION, OUT_FULL
from tapelab.quant.bars.plain_sums import (
    STRIDE,
    add_in_order,
    add_on_grid,
    common_grid,
    find_ends,
    interval_end,
)
from tapelab.quant.bars.rules import EXCLUDED_FLAGS, LAST_TS_NS, LEAST, MOST
from tapelab.quant.bars.state import DOLLAR, TICK, TIME, VOLUME
from tapelab.quant.dtypes import BarFlag

#: Prints that go through at a time; results do not depend on it.
BLOCK: Final = 512

#: What is carried from call to call: the session, the specification, and the pending bar. ``day`` 0 says that no
#: session is current; prices are kept as bit patterns where their order is all that matters.
PLAIN_STATE_DTYPE: Final = np.dtype(
    [
        *((name, "<i8") for name in ("day", "open_ns", "close_ns", "next_open_ns", "clock_ns", "last_seq")),
        *(
            (name, "<i8")
            for name in ("hole_from", "hole_to", "kind", "interval_ns", "first_type", "last_type", "off_grid")
        ),
        ("threshold", "<f8"),
        *((name, "<i8") for name in ("seq", "bar_day", "n", "buy_n", "sell_n", "first_seq", "ts_open_ns")),
        *((name, "<i8") for name in ("high_bits", "low_bits")),
        *((name, "<f8") for name in ("open", "last", "volume", "dollar", "buy_volume", "sell_volume")),
    ]
)

_FIRST_OF_DAY: Final = int(BarFlag.FIRST_OF_DAY)
_SESSION_END: Final = int(BarFlag.SESSION_END)


@njit
def _pack(
    ts_ns: Any, price: Any, volume: Any, side: Any, trade_type: Any, flags: Any, allowed: Any, state: Any,
    to_clock: Any, to_price: Any, to_volume: Any, to_side: Any, to_row: Any,
) -> Any:  # fmt: skip
    """Copy a block's eligible prints: (prints, rows taken, DONE or OTHER_SESSION)."""
    clock = state.clock_ns
    m = 0
    taken, status = len(ts_ns), DONE
    for i in range(len(ts_ns)):
        t, p, v = ts_ns[i], price[i], volume[i]
        if not (
            allowed[trade_type[i]]
            and (flags[i] & EXCLUDED_FLAGS) == 0
            and p >= LEAST
            and p <= MOST
            and v >= 0.0
            and v <= MOST
            and 0 <= t < LAST_TS_NS
        ):
            continue
        if t >= state.close_ns:
            if t >= state.next_open_ns and not (state.hole_from <= t < state.hole_to):
                taken, status = i, OTHER_SESSION
                break
            continue
        if t < state.open_ns:
            continue
        clock = max(clock, t)
        to_clock[m], to_price[m], to_volume[m], to_side[m], to_row[m] = clock, p, v, side[i], i
        m += 1
    return m, taken, status


@njit
def _close(bar: Any, flags: int, ts_close_ns: int, state: Any) -> None:
    """Write the pending bar, whose last print is the day's last so far, and begin the next."""
    n = state.n
    bar.seq = state.seq
    bar.day = state.day
    bar.flags = flags | (_FIRST_OF_DAY if state.bar_day != state.day else 0)
    bar.ts_open_ns = state.ts_open_ns if n > 0 else ts_close_ns
    bar.ts_close_ns = ts_close_ns
    bar.first_tick_seq = state.first_seq if n > 0 else state.last_seq + 1
    bar.last_tick_seq = state.last_seq
    bar.n = n
    bar.buy_n = state.buy_n
    bar.sell_n = state.sell_n
    bar.open = state.open if n > 0 else state.last
    bar.high = np.int64(state.high_bits).view(np.float64) if n > 0 else state.last
    bar.low = np.int64(state.low_bits).view(np.float64) if n > 0 else state.last
    bar.close = state.last
    bar.volume = state.volume
    bar.dollar = state.dollar
    bar.buy_volume = state.buy_volume
    bar.sell_volume = state.sell_volume
    bar.vwap = state.dollar / state.volume if state.volume > 0.0 else state.last
    state.seq += 1
    state.bar_day = state.day
    _begin_bar(state)


@njit
def _begin_bar(state: Any) -> None:
    """Empty the pending bar."""
    state.n = state.buy_n = state.sell_n = 0
    state.high_bits, state.low_bits = 0, INF_BITS
    state.volume = state.dollar = state.buy_volume = state.sell_volume = 0.0


@njit
def _walk(
    clock: Any, price: Any, volume: Any, price_bits: Any, side: Any, rows: Any, first_seq: int, start: int, stop: int,
    grid: float, state: Any, of_strides: Any, ends: Any, out: Any, out_from: int,
) -> int:  # fmt: skip
    """Take eligible prints into the bars; bars closed. Print i has number ``first_seq + rows[i]``, or + i."""
    kind = state.kind
    by_volume = state.threshold if kind == VOLUME else np.nan
    by_dollar = state.threshold if kind == DOLLAR else np.nan
    ahead = grid > 0.0 or kind in (TICK, TIME)
    found = find_ends(clock, price, volume, start, stop, grid, state, of_strides, ends) if ahead else 0
    closed = 0
    while True:
        ready = closed < found
        end = ends[closed] if ready else stop
        if end > start:
            if state.n == 0:
                state.open = price[start]
                state.ts_open_ns = clock[start]
                state.first_seq = first_seq + (rows[start] if len(rows) > 0 else start)
            if grid > 0.0:
                add_on_grid(price, volume, price_bits, side, start, end, grid, state)
            else:
                end = add_in_order(price, volume, price_bits, side, start, end, by_volume, by_dollar, state)
                ready = ready or state.volume >= by_volume or state.dollar >= by_dollar
            state.last = price[end - 1]
            state.clock_ns = clock[end - 1]
            state.last_seq = first_seq + (rows[end - 1] if len(rows) > 0 else end - 1)
            start = end
        if not ready:
            return closed
        # A time bar closes before the next print, any other with its own last.
        ts_close_ns = interval_end(state.ts_open_ns, state) if kind == TIME else state.clock_ns
        _close(out[out_from + closed], 0, ts_close_ns, state)
        closed += 1


@njit
def advance_plain(
    ts_ns: Any, price: Any, volume: Any, side: Any, trade_type: Any, flags: Any, row: int, first_seq: int,
    allowed: Any, states: Any, out: Any, out_from: int,
) -> Any:  # fmt: skip
    """Take prints ``row..`` of a tape into bars ``out_from..``: (next row, bars, why it returned)."""
    state = states[0]
    n = len(ts_ns)
    price_bits, volume_bits = price.view(np.int64), volume.view(np.int64)
    of_strides, ends = np.empty(BLOCK // STRIDE, np.int64), np.empty(BLOCK + 1, np.int64)
    while row < n:
        stop = min(row + BLOCK, n)
        if out_from + stop - row + 1 > len(out):
            return row, out_from, OUT_FULL
        if in_order(ts_ns, row, stop, state) and none_barred(
            trade_type, flags, row, stop, state.first_type, state.last_type, allowed
        ):
            grid = common_grid(price, volume, price_bits, volume_bits, row, stop, state)
            if grid > 0.0 or all_sound(price_bits, volume_bits, row, stop):
                out_from += _walk(
                    ts_ns, price, volume, price_bits, side, ends[:0], first_seq, row, stop,
                    grid, state, of_strides, ends, out, out_from,
                )  # fmt: skip
                row = stop
                continue
        to_clock, to_price, to_volume = np.empty(BLOCK, np.int64), np.empty(BLOCK), np.empty(BLOCK)
        to_side, to_row = np.empty(BLOCK, np.int8), np.empty(BLOCK, np.int64)
        m, taken, status = _pack(
            ts_ns[row:stop], price[row:stop], volume[row:stop], side[row:stop], trade_type[row:stop], flags[row:stop],
            allowed, state, to_clock, to_price, to_volume, to_side, to_row,
        )  # fmt: skip
        if m > 0:
            bits, lots_bits = to_price.view(np.int64), to_volume.view(np.int64)
            grid = common_grid(to_price, to_volume, bits, lots_bits, 0, m, state)
            out_from += _walk(
                to_clock, to_price, to_volume, bits, to_side, to_row, first_seq + row, 0, m, grid,
                state, of_strides, ends, out, out_from,
            )  # fmt: skip
        row += taken
        if status != DONE:
            return row, out_from, status
    return row, out_from, DONE


@njit
def finish_plain(states: Any, out: Any, out_from: int) -> None:
    """Close the current session with its last bar; later prints before its end are late."""
    state = states[0]
    _close(out[out_from], _SESSION_END, state.close_ns, state)
    state.day = 0
    state.open_ns = state.next_open_ns = state.close_ns
