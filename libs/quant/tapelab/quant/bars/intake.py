"""A block's eligible prints on their way into bars: what all specifications need of them, found once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapelab.quant._numba import leaf
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
from tapelab.quant.bars.running import add
from tapelab.quant.bars.state import (
    CHANGED,
    LARGE_MARK,
    MARKED,
    MARKS,
    RING_PRICE,
    RING_RV,
    RING_RV_LOW,
    RING_SIGNED,
    RING_SIGNED_LOW,
    RING_VOLUME,
    RING_VOLUME_LOW,
    RLP_MARK,
    ROW,
    SIDE,
    SIGNED,
    SQUARE,
    VOLUMES,
)

#: Why the kernel returned: all done, a print of another session, or an array is too small.
DONE, OTHER_SESSION, RING_FULL, AGENTS_FULL, OUT_FULL = range(5)


@leaf
def take_all(
    ts_ns: Any, price: Any, volume: Any, aggressor: Any, trade_type: Any, flags: Any, start: int, stop: int, day: Any,
    ring_ts: Any, ring: Any, figures: Any, notes: Any,
) -> None:  # fmt: skip
    """Copy rows of which all are eligible and in order. Each column in a loop of its own, which vectorises."""
    base = day.ring_end
    to_clock, to_price = ring_ts[base:], ring[RING_PRICE, base:]
    volumes, rows, sides, marks = figures[VOLUMES], notes[ROW], notes[SIDE], notes[MARKS]
    first, m = np.uint64(start), np.uint64(stop - start)
    for j in range(m):
        to_clock[j] = ts_ns[first + j]
    for j in range(m):
        to_price[j] = price[first + j]
    for j in range(m):
        volumes[j] = volume[first + j]
    for j in range(m):
        sides[j] = aggressor[first + j]
    for j in range(m):
        rows[j] = j
    for j in range(m):
        marks[j] = RLP_MARK * (((flags[first + j] & RLP_FLAG) != 0) | (trade_type[first + j] == RLP_TYPE))
    day.clock_ns = ts_ns[stop - 1]


@leaf
def take_eligible(
    ts_ns: Any, price: Any, volume: Any, aggressor: Any, trade_type: Any, flags: Any, hole_from: int, hole_to: int,
    allowed: Any, day: Any, ring_ts: Any, ring: Any, figures: Any, notes: Any,
) -> Any:  # fmt: skip
    """Copy the eligible of a block's rows: (prints, rows taken, DONE or OTHER_SESSION)."""
    clock = day.clock_ns
    base = day.ring_end
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
        if t >= day.close_ns:
            if t >= day.next_open_ns and not (hole_from <= t < hole_to):
                taken, status = i, OTHER_SESSION
                break
            continue
        if t < day.open_ns:
            continue
        clock = max(clock, t)
        ring_ts[base + m] = clock
        ring[RING_PRICE, base + m] = p
        figures[VOLUMES, m] = v
        notes[ROW, m] = i
        notes[SIDE, m] = aggressor[i]
        notes[MARKS, m] = RLP_MARK * (((flags[i] & RLP_FLAG) != 0) | (trade_type[i] == RLP_TYPE))
        m += 1
    day.clock_ns = clock
    return m, taken, status


@leaf
def _add_squares(m: int, prices: Any, squares: Any, changed: Any) -> None:
    """Squared log returns; print j's price is at j + 1, after its predecessor's."""
    # Listed and then worked off in a loop of its own: a branch on every print would often be guessed wrong.
    changes = 0
    for j in range(np.uint64(m)):
        squares[j] = 0.0
        changed[np.uint64(changes)] = j
        changes += prices[j + np.uint64(1)] != prices[j]
    for c in range(np.uint64(changes)):
        at = np.uint64(changed[c])
        before = prices[at]
        if before > 0.0:
            r = math.log(prices[at + np.uint64(1)] / before)
            squares[at] = r * r


@leaf
def _run(m: int, base: int, values: Any, high: Any, low: Any) -> None:
    """The day's running sum of a column, as two floats, from the print before ``base`` on."""
    total, rest = high[base - 1], low[base - 1]
    to_high, to_low = high[base:], low[base:]
    for j in range(np.uint64(m)):
        total, rest = add(total, rest, values[j])
        to_high[j] = total
        to_low[j] = rest


@leaf
def add_to_day(m: int, day: Any, ring: Any, figures: Any, notes: Any) -> int:
    """Take the block's ``m`` prints into the day's running sums; how many bear marks."""
    base = day.ring_end
    volumes, signed, squares = figures[VOLUMES], figures[SIGNED], figures[SQUARE]
    sides, marks, of_marked = notes[SIDE], notes[MARKS], notes[MARKED]
    for j in range(np.uint64(m)):
        signed[j] = volumes[j] * np.float64(np.int32(sides[j] > 0) - np.int32(sides[j] < 0))
    _add_squares(m, ring[RING_PRICE, base - 1 : base + m], squares, notes[CHANGED])
    _run(m, base, volumes, ring[RING_VOLUME], ring[RING_VOLUME_LOW])
    _run(m, base, signed, ring[RING_SIGNED], ring[RING_SIGNED_LOW])
    _run(m, base, squares, ring[RING_RV], ring[RING_RV_LOW])
    volume_before = ring[RING_VOLUME, base - 1 : base + m]
    for j in range(np.uint64(m)):
        v, earlier = volumes[j], np.float64(day.prints + np.int64(j))
        large = (v * earlier >= LARGE_TIMES * volume_before[j]) & (v > 0.0) & (earlier >= LARGE_AFTER)
        marks[j] |= LARGE_MARK * large
    marked = 0
    for j in range(np.uint64(m)):
        of_marked[np.uint64(marked)] = j
        marked += marks[j] != 0
    day.ring_end = base + m
    day.prints += m
    return marked
