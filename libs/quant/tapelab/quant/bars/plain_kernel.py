"""The plain bar recurrence: prices, sums and counts of one specification, without trailing windows.

Prints go through in blocks. A block that lies in the session, in order of time, with nothing to leave out is
used where it stands; any other is first packed into buffers. Both then take the same walk. Sums run print by
print from the bar's first, exactly as in :mod:`~tapelab.quant.bars.kernel`, so the bits are the same; what
makes it fast is that several independent sums advance side by side, that a bar's end is looked for once per
``STRIDE`` prints (a sum of volumes never falls, so a stride that ends below the threshold holds no end), and
that highs, lows and counts, whose order does not matter, are taken over the whole stretch at once.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import njit
from tapelab.quant.bars.kernel import DONE, OTHER_SESSION, OUT_FULL
from tapelab.quant.bars.rules import EXCLUDED_FLAGS, LAST_TS_NS
from tapelab.quant.bars.state import BLOCK, DOLLAR, TICK, TIME, VOLUME
from tapelab.quant.dtypes import BarFlag

#: Prints whose sums are taken before looking for the bar's end; results do not depend on it.
STRIDE: Final = 16

_FIRST_OF_DAY: Final = int(BarFlag.FIRST_OF_DAY)
_SESSION_END: Final = int(BarFlag.SESSION_END)
#: Bit pattern of infinity: finite numbers above zero are the integers between 0 and this one, in order.
_INF_BITS: Final = 0x7FF0_0000_0000_0000


@njit
def _in_order(ts_ns: Any, clock_ns: int, open_ns: int, close_ns: int) -> bool:
    """Whether no event time goes backwards and all lie in the session."""
    n = len(ts_ns)
    earlier, later = ts_ns[: n - 1], ts_ns[1:]
    backwards = 0
    for i in range(len(earlier)):
        backwards |= later[i] < earlier[i]
    return backwards == 0 and ts_ns[0] >= max(clock_ns, open_ns, 0) and ts_ns[n - 1] < min(close_ns, LAST_TS_NS)


@njit
def _all_eligible(price: Any, volume: Any, trade_type: Any, flags: Any, allowed: Any) -> bool:
    """Whether every print's type, flags, price (as bits) and volume (as bits) let it into bars."""
    wrong = 0
    for i in range(len(price)):
        # Negative where a price is not in (0, inf) or a volume not in [+0, inf).
        wrong |= (price[i] - 1) | (_INF_BITS - 1 - price[i]) | volume[i] | (_INF_BITS - 1 - volume[i])
    marked = np.uint16(0)
    for i in range(len(flags)):
        marked |= flags[i]
    barred = 0
    for i in range(len(trade_type)):
        barred |= not allowed[trade_type[i]]
    return wrong >= 0 and (marked & EXCLUDED_FLAGS) == 0 and barred == 0


@njit
def _pack(
    ts_ns: Any, price: Any, volume: Any, side: Any, trade_type: Any, flags: Any, hole_from: int, hole_to: int,
    allowed: Any, day: Any, to_clock: Any, to_price: Any, to_volume: Any, to_side: Any, to_row: Any,
) -> Any:  # fmt: skip
    """Copy a block's eligible prints: (prints, rows taken, DONE or OTHER_SESSION)."""
    clock = day.clock_ns
    m = 0
    taken, status = len(ts_ns), DONE
    for i in range(len(ts_ns)):
        t, p, v = ts_ns[i], price[i], volume[i]
        if not (
            allowed[trade_type[i]]
            and (flags[i] & EXCLUDED_FLAGS) == 0
            and p > 0.0
            and p < np.inf
            and v >= 0.0
            and v < np.inf
            and 0 <= t < LAST_TS_NS
        ):
            continue
        if t >= day.close_ns:
            if t >= day.next_open_ns and not (hole_from <= t < hole_to):
                taken, status = i, OTHER_SESSION
                break
            continue
        if t < day.open_ns:
            continue
        clock = max(clock, t)
        to_clock[m], to_price[m], to_volume[m], to_side[m], to_row[m] = clock, p, v, side[i], i
        m += 1
    return m, taken, status


@njit
def _count(price: Any, side: Any, spec: Any) -> None:
    """Take some prints into the pending bar's high, low and counts; prices, above zero, as bits."""
    most, least = 0, _INF_BITS
    for i in range(len(price)):
        most = max(most, price[i])
        least = min(least, price[i])
    buys = sells = 0
    for i in range(len(side)):
        buys += (side[i] > 0) & (side[i] < 128)
        sells += side[i] > 127
    if spec.n == 0:
        spec.high_bits, spec.low_bits = most, least
    else:
        spec.high_bits, spec.low_bits = max(spec.high_bits, most), min(spec.low_bits, least)
    spec.n += len(side)
    spec.buy_n += buys
    spec.sell_n += sells


@njit
def _close(bar: Any, flags: int, ts_close_ns: int, day: Any, spec: Any) -> None:
    """Write the pending bar, whose last print is the day's last so far, and begin the next."""
    n = spec.n
    bar.seq = spec.seq
    bar.day = day.day
    bar.flags = flags | (_FIRST_OF_DAY if spec.bar_day != day.day else 0)
    bar.ts_open_ns = spec.ts_open_ns if n > 0 else ts_close_ns
    bar.ts_close_ns = ts_close_ns
    bar.first_tick_seq = spec.first_seq if n > 0 else day.last_seq + 1
    bar.last_tick_seq = day.last_seq
    bar.n = n
    bar.buy_n = spec.buy_n
    bar.sell_n = spec.sell_n
    bar.open = spec.open if n > 0 else spec.last
    bar.high_bits = spec.high_bits
    bar.low_bits = spec.low_bits
    bar.close = spec.last
    bar.volume = spec.volume
    bar.dollar = spec.dollar
    bar.buy_volume = spec.buy_volume
    bar.sell_volume = spec.sell_volume
    bar.vwap = spec.dollar / spec.volume if spec.volume > 0.0 else spec.last
    spec.seq += 1
    spec.bar_day = day.day
    spec.n = spec.buy_n = spec.sell_n = 0
    spec.volume = spec.dollar = spec.buy_volume = spec.sell_volume = 0.0


@njit
def _walk(
    clock: Any, price: Any, price_bits: Any, volume: Any, side: Any, row: Any, shares: Any, first_seq: int, day: Any,
    spec: Any, out: Any,
) -> int:  # fmt: skip
    """Take a block's eligible prints into the bars; bars closed.

    ``side`` is the aggressor as an unsigned byte and ``shares`` (256, 2) what of a print's volume buyers and
    sellers began, 0 or 1: a factor from a table costs less than a branch nobody can guess, and changes no bit
    of a sum that began at zero.
    """
    kind, threshold, interval_ns = spec.kind, spec.threshold, spec.interval_ns
    total, dollar, bought, sold = spec.volume, spec.dollar, spec.buy_volume, spec.sell_volume
    m = len(price)
    closed = 0
    start = 0  # first print of the block that is not counted yet
    pending = spec.n  # prints of the bar before ``start``
    j = 0
    while j < m:
        # A whole stride, if the bar does not end in it.
        if j + STRIDE <= m and pending + j - start > 0:
            t0, d0, b0, s0 = total, dollar, bought, sold
            p_, v_, s_ = price[j : j + STRIDE], volume[j : j + STRIDE], side[j : j + STRIDE]
            for i in range(STRIDE):
                v = v_[i]
                t0 += v
                d0 += p_[i] * v
                b0 += v * shares[s_[i], 0]
                s0 += v * shares[s_[i], 1]
            if (
                (kind == VOLUME and t0 < threshold)
                or (kind == DOLLAR and d0 < threshold)
                or (kind == TICK and pending + j - start + STRIDE < threshold)
                or (kind == TIME and clock[j + STRIDE - 1] < spec.bucket_end_ns)
            ):
                total, dollar, bought, sold = t0, d0, b0, s0
                j += STRIDE
                continue
        stop = min(j + STRIDE, m)
        while j < stop:
            n = pending + j - start
            if n == 0:
                spec.open = price[j]
                spec.first_seq = first_seq + row[j]
                spec.ts_open_ns = clock[j]
                if kind == TIME:
                    spec.bucket_end_ns = day.open_ns + ((clock[j] - day.open_ns) // interval_ns + 1) * interval_ns
            elif kind == TIME and clock[j] >= spec.bucket_end_ns:
                # A time bar closes before this print, any other after its own last.
                break
            v = volume[j]
            total += v
            dollar += price[j] * v
            bought += v * shares[side[j], 0]
            sold += v * shares[side[j], 1]
            j += 1
            if (
                (kind == VOLUME and total >= threshold)
                or (kind == DOLLAR and dollar >= threshold)
                or (kind == TICK and n + 1 >= threshold)
            ):
                break
        else:
            continue
        if j > start:
            _count(price_bits[start:j], side[start:j], spec)
            spec.last, spec.last_bits = price[j - 1], price_bits[j - 1]
            day.last_seq = first_seq + row[j - 1]
            day.clock_ns = clock[j - 1]
        spec.volume, spec.dollar, spec.buy_volume, spec.sell_volume = total, dollar, bought, sold
        _close(out[closed], 0, spec.bucket_end_ns if kind == TIME else day.clock_ns, day, spec)
        total = dollar = bought = sold = 0.0
        closed += 1
        start = j
        pending = 0
    if m > start:
        _count(price_bits[start:], side[start:], spec)
        spec.last, spec.last_bits = price[m - 1], price_bits[m - 1]
        day.last_seq = first_seq + row[m - 1]
        day.clock_ns = clock[m - 1]
    spec.volume, spec.dollar, spec.buy_volume, spec.sell_volume = total, dollar, bought, sold
    return closed


@njit
def advance_plain(
    ts_ns: Any, price: Any, volume: Any, side: Any, trade_type: Any, flags: Any, price_bits: Any, volume_bits: Any,
    row: int, first_seq: int, hole_from: int, hole_to: int, allowed: Any, shares: Any, rows: Any, days: Any, specs: Any,
    to_clock: Any, to_price: Any, to_bits: Any, to_volume: Any, to_side: Any, to_row: Any, out: Any, out_from: int,
) -> Any:  # fmt: skip
    """Take prints ``row..`` of a tape into bars ``out_from..``: (next row, bars, why it returned)."""
    day, spec = days[0], specs[0]
    n = len(ts_ns)
    while row < n:
        stop = min(row + BLOCK, n)
        if out_from + stop - row + 1 > len(out):
            return row, out_from, OUT_FULL
        if _in_order(ts_ns[row:stop], day.clock_ns, day.open_ns, day.close_ns) and _all_eligible(
            price_bits[row:stop], volume_bits[row:stop], trade_type[row:stop], flags[row:stop], allowed
        ):
            out_from += _walk(
                ts_ns[row:stop], price[row:stop], price_bits[row:stop], volume[row:stop], side[row:stop],
                rows[: stop - row], shares, first_seq + row, day, spec, out[out_from:],
            )  # fmt: skip
            row = stop
            continue
        m, taken, status = _pack(
            ts_ns[row:stop], price[row:stop], volume[row:stop], side[row:stop], trade_type[row:stop], flags[row:stop],
            hole_from, hole_to, allowed, day, to_clock, to_price, to_volume, to_side, to_row,
        )  # fmt: skip
        out_from += _walk(
            to_clock[:m], to_price[:m], to_bits[:m], to_volume[:m], to_side[:m], to_row[:m], shares, first_seq + row,
            day, spec, out[out_from:],
        )  # fmt: skip
        row += taken
        if status != DONE:
            return row, out_from, status
    return row, out_from, DONE


@njit
def finish_plain(days: Any, specs: Any, out: Any, out_from: int) -> None:
    """Close the current session with its last bar."""
    day, spec = days[0], specs[0]
    if spec.n == 0:
        spec.high_bits = spec.low_bits = spec.last_bits
    _close(out[out_from], _SESSION_END, day.close_ns, day, spec)
