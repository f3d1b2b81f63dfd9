"""The bar recurrence: one pass over a chunk of prints for any number of specifications.

The pass works in blocks. A block's eligible prints are first found and appended to the day's ring with
their event-time clock and running sums, and their agents numbered, once for all specifications; then each
specification walks over them with its accumulators in registers. Every sum runs print by print from the
bar's (or the day's) first, so neither chunks nor blocks show in the results.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from tapelab.quant._numba import njit
from tapelab.quant.bars.participants import add_agents, agent_figures, name_agents
from tapelab.quant.bars.rules import EXCLUDED_FLAGS, LARGE_AFTER, LARGE_TIMES, LAST_TS_NS, RLP_FLAG, RLP_TYPE
from tapelab.quant.bars.state import (
    BLOCK,
    DOLLAR,
    LARGE_MARK,
    LONGEST_NS,
    RING_PRICE,
    RING_RV,
    RING_SIGNED,
    RING_VOLUME,
    RLP_MARK,
    SIDE_SHARES,
    TICK,
    TIME,
    VOLUME,
)
from tapelab.quant.dtypes import TRAILING_WINDOWS, BarFlag

#: Why the kernel returned: all done, a print of another session, or an array is too small.
DONE, OTHER_SESSION, RING_FULL, AGENTS_FULL, OUT_FULL = range(5)

_AFTER_GAP: Final = int(BarFlag.AFTER_GAP)
_FIRST_OF_DAY: Final = int(BarFlag.FIRST_OF_DAY)
_SESSION_END: Final = int(BarFlag.SESSION_END)
_INF: Final = math.inf
_W1, _W5, _W30, _W300 = (ns for _, ns in TRAILING_WINDOWS)


@njit
def _room(
    prints: int, day: Any, specs: Any, left: Any, ring_ts: Any, ring: Any, agents: int, out: Any, out_n: Any
) -> int:
    """Make room in the ring for some prints; DONE, or which array must grow first."""
    for k in range(len(specs)):
        if out_n[k] + prints + 1 > out.shape[1]:
            return OUT_FULL
    # Every print may bring two agents; one place is the unknown ones', one lies past each list's end.
    if day.agents + 2 * prints + 2 > agents:
        return AGENTS_FULL
    end = day.ring_end
    size = len(ring_ts)
    if end + prints <= size:
        return DONE
    # Prints that left the longest window can be in no later bar's window; one more is kept because a
    # window's sums are differences against the print before it.
    low, high = 1, end
    while low < high:
        middle = (low + high) // 2
        if ring_ts[middle] <= day.clock_ns - LONGEST_NS:
            low = middle + 1
        else:
            high = middle
    drop = low - 1
    if drop > 0:
        for i in range(drop, end):
            ring_ts[i - drop] = ring_ts[i]
        for column in range(4):
            for i in range(drop, end):
                ring[column, i - drop] = ring[column, i]
        for k in range(len(specs)):
            for w in range(left.shape[1]):
                left[k, w] = max(left[k, w] - drop, 1)
        day.ring_end = end - drop
    # A ring that stays half full after this is doubled, so that moving costs O(1) per print.
    return RING_FULL if 2 * day.ring_end > size or day.ring_end + prints > size else DONE


@njit
def _window(w: int, width_ns: int, ts_close_ns: int, end: int, left: Any, ring_ts: Any, ring: Any) -> Any:
    """(ret, volume, signed volume, n, rv) over ``(ts_close - width, ts_close]``, prints before ``end``."""
    cut = ts_close_ns - width_ns
    i = left[w]
    while i + 8 <= end and ring_ts[i + 7] <= cut:
        i += 8
    while i < end and ring_ts[i] <= cut:
        i += 1
    left[w] = i
    ret = 0.0
    if i < end - 1:
        ret = math.log(ring[RING_PRICE, end - 1] / ring[RING_PRICE, i])
    return (
        ret,
        ring[RING_VOLUME, end - 1] - ring[RING_VOLUME, i - 1],
        ring[RING_SIGNED, end - 1] - ring[RING_SIGNED, i - 1],
        float(end - i),
        ring[RING_RV, end - 1] - ring[RING_RV, i - 1],
    )


@njit
def _emit(
    bar: Any, flags: int, ts_close_ns: int, last_seq: int, book_seq: int, end: int, day: Any, spec: Any,
    left: Any, ring_ts: Any, ring: Any, agent_volumes: Any, agent_lists: Any,
) -> None:  # fmt: skip
    """Write the pending bar, whose last print sits before ``end`` in the ring, and begin the next."""
    if spec.after_gap != 0:
        flags |= _AFTER_GAP
    if spec.bar_day != day.day:
        flags |= _FIRST_OF_DAY
    close = ring[RING_PRICE, end - 1]
    n = spec.n
    bar.seq = spec.seq
    bar.day = day.day
    bar.flags = flags
    bar.session_open_ns = day.open_ns
    bar.session_close_ns = day.close_ns
    bar.ts_open_ns = spec.ts_open_ns if n > 0 else ts_close_ns
    bar.ts_close_ns = ts_close_ns
    bar.first_tick_seq = spec.first_seq if n > 0 else last_seq + 1
    bar.last_tick_seq = last_seq
    bar.book_seq = book_seq
    bar.n = n
    bar.buy_n = spec.buy_n
    bar.sell_n = spec.sell_n
    bar.up_ticks = spec.up_ticks
    bar.down_ticks = spec.down_ticks
    bar.open = spec.open if n > 0 else close
    bar.high = spec.high if n > 0 else close
    bar.low = spec.low if n > 0 else close
    bar.close = close
    bar.volume = spec.volume
    bar.dollar = spec.dollar
    bar.buy_volume = spec.buy_volume
    bar.sell_volume = spec.sell_volume
    bar.vwap = spec.dollar / spec.volume if spec.volume > 0.0 else close
    dt_mean_ns = 0.0
    dt_var_ns2 = 0.0
    if n > 1:
        dt_mean_ns = (ring_ts[end - 1] - spec.ts_open_ns) / (n - 1)
        dt_var_ns2 = max(spec.dt_square_ns2 / (n - 1) - dt_mean_ns * dt_mean_ns, 0.0)
    bar.dt_mean_s = dt_mean_ns * 1e-9
    bar.dt_var_s2 = dt_var_ns2 * 1e-18
    bar.realised_var = spec.realised_var
    bar.utc_offset_s = day.utc_offset_s
    bar.rlp_volume = spec.rlp_volume
    bar.large_volume = spec.large_volume
    bar.large_signed_volume = spec.large_signed_volume
    agent_figures(
        bar, agent_lists[0, : spec.buy_agents], agent_lists[1, : spec.sell_agents], agent_volumes[0], agent_volumes[1]
    )
    # fmt: off
    bar.ret_1s, bar.volume_1s, bar.signed_volume_1s, bar.n_1s, bar.rv_1s = _window(
        0, _W1, ts_close_ns, end, left, ring_ts, ring)
    bar.ret_5s, bar.volume_5s, bar.signed_volume_5s, bar.n_5s, bar.rv_5s = _window(
        1, _W5, ts_close_ns, end, left, ring_ts, ring)
    bar.ret_30s, bar.volume_30s, bar.signed_volume_30s, bar.n_30s, bar.rv_30s = _window(
        2, _W30, ts_close_ns, end, left, ring_ts, ring)
    bar.ret_5m, bar.volume_5m, bar.signed_volume_5m, bar.n_5m, bar.rv_5m = _window(
        3, _W300, ts_close_ns, end, left, ring_ts, ring)
    # fmt: on
    spec.seq += 1
    spec.bar_day = day.day
    spec.after_gap = 0
    spec.n = 0
    spec.buy_agents = 0
    spec.sell_agents = 0
    spec.volume = 0.0
    spec.dollar = 0.0
    spec.buy_n = 0
    spec.sell_n = 0
    spec.up_ticks = 0
    spec.down_ticks = 0
    spec.first_seq = 0
    spec.ts_open_ns = 0
    spec.bucket_end_ns = 0
    spec.open = 0.0
    spec.high = 0.0
    spec.low = 0.0
    spec.buy_volume = 0.0
    spec.sell_volume = 0.0
    spec.dt_square_ns2 = 0.0
    spec.realised_var = 0.0
    spec.rlp_volume = 0.0
    spec.large_volume = 0.0
    spec.large_signed_volume = 0.0


@njit
def _add_squares(before: float, changes: int, m: int, total: float, prices: Any, running: Any, block: Any) -> None:
    """Squared log returns of the prints whose price changed, and the day's running sum of them."""
    for c in range(changes):
        j = block[c].changed
        last = prices[j - 1] if j > 0 else before
        if last > 0.0:
            r = math.log(prices[j] / last)
            block[j].square = r * r
    for j in range(m):
        total += block[j].square
        running[j] = total


@njit
def _append(
    ts_ns: Any, price: Any, volume: Any, aggressor: Any, trade_type: Any, flags: Any, hole_from: int, hole_to: int,
    allowed: Any, day: Any, ring_ts: Any, ring: Any, block: Any,
) -> Any:  # fmt: skip
    """Append a block's eligible prints to the ring: (prints, of them marked, rows taken, DONE or OTHER_SESSION).

    The columns are those of the block. Indices count from zero on fresh slices here and in ``_walk``, which
    spares the compiler a sign check per access.
    """
    open_ns, close_ns, next_open_ns = day.open_ns, day.close_ns, day.next_open_ns
    clock = day.clock_ns
    end = day.ring_end
    last = np.nan
    sum_volume = sum_signed = sum_rv = 0.0
    if end > 0:
        last = ring[RING_PRICE, end - 1]
        sum_volume = ring[RING_VOLUME, end - 1]
        sum_signed = ring[RING_SIGNED, end - 1]
        sum_rv = ring[RING_RV, end - 1]
    to_clock = ring_ts[end:]
    to_price, to_volume = ring[RING_PRICE, end:], ring[RING_VOLUME, end:]
    to_signed, to_rv = ring[RING_SIGNED, end:], ring[RING_RV, end:]
    before = last
    taken, status = len(ts_ns), DONE
    earlier = float(day.prints)
    changes = 0
    marked = 0
    m = 0
    for i in range(len(ts_ns)):
        t = ts_ns[i]
        p = price[i]
        v = volume[i]
        if not (
            allowed[trade_type[i]]
            and (flags[i] & EXCLUDED_FLAGS) == 0
            and p > 0.0
            and p < _INF
            and v >= 0.0
            and v < _INF
            and 0 <= t < LAST_TS_NS
        ):
            continue
        if t >= close_ns:
            if t >= next_open_ns and not (hole_from <= t < hole_to):
                taken, status = i, OTHER_SESSION
                break
            continue
        if t < open_ns:
            continue
        clock = max(clock, t)
        # Listed and then worked off in a loop of its own: a branch on every print would often be guessed wrong.
        block[changes].changed = m
        changes += p != last
        last = p
        side = np.uint8(aggressor[i])
        bought, sold = v * SIDE_SHARES[side, 0], v * SIDE_SHARES[side, 1]
        marks = RLP_MARK * (((flags[i] & RLP_FLAG) != 0) | (trade_type[i] == RLP_TYPE))
        marks |= LARGE_MARK * ((earlier >= LARGE_AFTER) & (v * earlier >= LARGE_TIMES * sum_volume) & (v > 0.0))
        block[marked].marked = m
        marked += marks != 0
        earlier += 1.0
        sum_volume += v
        sum_signed += bought - sold
        to_clock[m] = clock
        to_price[m] = p
        to_volume[m] = sum_volume
        to_signed[m] = sum_signed
        print_ = block[m]
        print_.row = i
        print_.volume = v
        print_.bought = bought
        print_.sold = sold
        print_.square = 0.0
        print_.side = aggressor[i]
        print_.marks = marks
        m += 1
    day.clock_ns = clock
    day.ring_end = end + m
    day.prints += m
    _add_squares(before, changes, m, sum_rv, to_price, to_rv, block)
    return m, marked, taken, status


@njit
def _add_marked(block: Any, at: int, marked: int, stop: int, spec: Any) -> int:
    """Add the volumes of marked prints before place ``stop``; the first of the list that is left."""
    while at < marked and block[at].marked < stop:
        print_ = block[block[at].marked]
        if print_.marks & RLP_MARK:
            spec.rlp_volume += print_.volume
        if print_.marks & LARGE_MARK:
            spec.large_volume += print_.volume
            spec.large_signed_volume += print_.bought - print_.sold
        at += 1
    return at


@njit
def _walk(
    m: int, marked: int, base: int, first_seq: int, book_seq: int, day: Any, spec: Any, left: Any, ring_ts: Any,
    ring: Any, agent_volumes: Any, agent_lists: Any, block: Any, out: Any,
) -> int:  # fmt: skip
    """Take a block's prints, which begin at ``base`` in the ring, into one specification's bars; bars closed."""
    kind, threshold, interval_ns = spec.kind, spec.threshold, spec.interval_ns
    # One place back: a print's predecessor sits at its own index, it at the next.
    clocks, prices = ring_ts[base - 1 : base + m], ring[RING_PRICE, base - 1 : base + m]
    n, buy_n, sell_n, up, down = spec.n, spec.buy_n, spec.sell_n, spec.up_ticks, spec.down_ticks
    high, low = spec.high, spec.low
    volume, dollar = spec.volume, spec.dollar
    buy_volume, sell_volume = spec.buy_volume, spec.sell_volume
    dt_square, rv = spec.dt_square_ns2, spec.realised_var
    bucket_end = spec.bucket_end_ns
    closed = 0
    start = 0  # first print of the block whose agents are not counted yet
    mark = 0  # first of the list of marked prints that is not
    for j in range(m + 1):
        # A volume, dollar or tick bar closes after its last print, a time bar before the next one: both are
        # seen here, ahead of print j; the last turn only closes.
        ready = n > 0 and (
            (kind == VOLUME and volume >= threshold)
            or (kind == DOLLAR and dollar >= threshold)
            or (kind == TICK and n >= threshold)
            or (kind == TIME and j < m and clocks[j + 1] >= bucket_end)
        )
        if ready or j == m:
            spec.n, spec.buy_n, spec.sell_n, spec.up_ticks, spec.down_ticks = n, buy_n, sell_n, up, down
            spec.high, spec.low = high, low
            spec.volume, spec.dollar = volume, dollar
            spec.buy_volume, spec.sell_volume = buy_volume, sell_volume
            spec.dt_square_ns2, spec.realised_var = dt_square, rv
            spec.bucket_end_ns = bucket_end
            spec.buy_agents, spec.sell_agents = add_agents(
                block, start, j, spec.buy_agents, spec.sell_agents, agent_lists[0], agent_lists[1], agent_volumes[0],
                agent_volumes[1],
            )  # fmt: skip
            mark = _add_marked(block, mark, marked, j, spec)
            start = j
            if ready:
                _emit(
                    out[closed], 0, bucket_end if kind == TIME else clocks[j],
                    first_seq + block[j - 1].row if j > 0 else day.last_seq, book_seq if j > 0 else day.book_seq,
                    base + j, day, spec, left, ring_ts, ring, agent_volumes, agent_lists,
                )  # fmt: skip
                closed += 1
                n = buy_n = sell_n = up = down = 0
                volume = dollar = buy_volume = sell_volume = dt_square = rv = 0.0
            if j == m:
                break
        t = clocks[j + 1]
        p = prices[j + 1]
        v = block[j].volume
        side = block[j].side
        if n == 0:
            high = low = p
            spec.open = p
            spec.first_seq = first_seq + block[j].row
            spec.ts_open_ns = t
            if kind == TIME:
                bucket_end = day.open_ns + ((t - day.open_ns) // interval_ns + 1) * interval_ns
        else:
            dt = float(t - clocks[j])
            dt_square += dt * dt
        n += 1
        if p > high:
            high = p
        if p < low:
            low = p
        up += p > prices[j]
        down += p < prices[j]
        volume += v
        dollar += p * v
        buy_n += side > 0
        sell_n += side < 0
        buy_volume += block[j].bought
        sell_volume += block[j].sold
        rv += block[j].square
    return closed


@njit
def advance(
    ts_ns: Any, price: Any, volume: Any, aggressor: Any, trade_type: Any, flags: Any, buy_agent: Any,
    sell_agent: Any, row: int, first_seq: int, book_seq: int, hole_from: int, hole_to: int, finish: bool,
    allowed: Any, days: Any, specs: Any, left: Any, ring_ts: Any, ring: Any, agent_ids: Any, agent_slots: Any,
    agent_volumes: Any, agent_lists: Any, block: Any, out: Any, out_n: Any,
) -> Any:  # fmt: skip
    """Take prints ``row..`` of a chunk; with ``finish``, close the current session after them.

    Args:
        ts_ns .. sell_agent: columns of :class:`~tapelab.quant.ticks.Ticks`.
        row: first row to take.
        first_seq: sequence number of row 0.
        book_seq: of the chunk.
        hole_from, hole_to: a span of event time known to lie in no session.
        finish: whether to close the current session after the prints.
        allowed: (256,) whether a trade type enters bars.
        days .. out_n: arrays of :class:`~tapelab.quant.bars.state.BarState`.

    Returns:
        ``(row, status)``: the next row to take and why the kernel returned there. The caller makes the
        session of that row current, or enlarges the array, and calls again.
    """
    day = days[0]
    n = len(ts_ns)
    while row < n:
        stop = min(row + BLOCK, n)
        status = _room(stop - row, day, specs, left, ring_ts, ring, len(agent_ids), out, out_n)
        if status != DONE:
            return row, status
        base = day.ring_end
        m, marked, taken, status = _append(
            ts_ns[row:stop], price[row:stop], volume[row:stop], aggressor[row:stop], trade_type[row:stop],
            flags[row:stop], hole_from, hole_to, allowed, day, ring_ts, ring, block,
        )  # fmt: skip
        if m > 0:
            name_agents(buy_agent[row:stop], sell_agent[row:stop], m, day, agent_ids, agent_slots, block)
            for k in range(len(specs)):
                out_n[k] += _walk(
                    m, marked, base, first_seq + row, book_seq, day, specs[k], left[k], ring_ts, ring,
                    agent_volumes[k], agent_lists[k], block, out[k, out_n[k] :],
                )  # fmt: skip
            day.last_seq = first_seq + row + block[m - 1].row
            day.book_seq = book_seq
        row += taken
        if status != DONE:
            return row, status
    if finish and day.day != 0:
        status = _room(0, day, specs, left, ring_ts, ring, len(agent_ids), out, out_n)
        if status != DONE:
            return row, status
        for k in range(len(specs)):
            _emit(
                out[k, out_n[k]], _SESSION_END, day.close_ns, day.last_seq, day.book_seq, day.ring_end, day, specs[k],
                left[k], ring_ts, ring, agent_volumes[k], agent_lists[k],
            )  # fmt: skip
            out_n[k] += 1
        day.day = 0
        day.open_ns = day.next_open_ns = day.close_ns
        day.ring_end = 0
    return row, DONE
