"""The bar recurrence: one pass over a chunk of prints for any number of specifications.

The pass works in blocks. A block's eligible prints are first found and appended to the day's ring with
their event-time clock and running sums, and their agents numbered, once for all specifications; then each
specification takes them bar by bar. Every sum runs print by print from the bar's (or the day's) first, so
neither chunks nor blocks show in the results.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.bars.closing import close_bar
from tapelab.quant.bars.eligibility import all_sound, in_order, none_barred
from tapelab.quant.bars.intake import (
    AGENTS_FULL,
    DONE,
    OUT_FULL,
    RING_FULL,
    add_to_day,
    take_all,
    take_eligible,
)
from tapelab.quant.bars.participants import add_to_agent, name_agents
from tapelab.quant.bars.state import (
    BLOCK,
    BUYER,
    DOLLAR,
    LARGE_MARK,
    LONGEST_NS,
    MARKED,
    MARKS,
    RING_PRICE,
    RING_ROWS,
    RLP_MARK,
    ROW,
    SELLER,
    SIDE,
    SIGNED,
    SQUARE,
    TICK,
    TIME,
    VOLUME,
    VOLUMES,
)
from tapelab.quant.dtypes import BarFlag

_SESSION_END: Final = int(BarFlag.SESSION_END)


@leaf
def _move(places: Any, start: int, stop: int) -> None:
    """Move places ``start..stop`` to the front."""
    # Views, as the compiler copies several at a time once it has seen that they do not overlap.
    to, source = places[: stop - start], places[start:stop]
    for i in range(np.uint64(stop - start)):
        to[i] = source[i]


@leaf
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
        _move(ring_ts, drop, end)
        for column in range(RING_ROWS):
            _move(ring[column], drop, end)
        for k in range(len(specs)):
            for w in range(left.shape[1]):
                left[k, w] = max(left[k, w] - drop, 1)
        day.ring_end = end - drop
    # A ring that stays half full after this is doubled, so that moving costs O(1) per print.
    return RING_FULL if 2 * day.ring_end > size or day.ring_end + prints > size else DONE


@leaf
def _add_marked(figures: Any, notes: Any, at: int, marked: int, stop: int, spec: Any) -> int:
    """Add the volumes of marked prints before place ``stop``; the first of the list that is left."""
    while at < marked and notes[MARKED, at] < stop:
        j = notes[MARKED, at]
        if notes[MARKS, j] & RLP_MARK:
            spec.rlp_volume += figures[VOLUMES, j]
        if notes[MARKS, j] & LARGE_MARK:
            spec.large_volume += figures[VOLUMES, j]
            spec.large_signed_volume += figures[SIGNED, j]
        at += 1
    return at


@leaf
def _begin(clock_ns: int, price: float, seq: int, day: Any, spec: Any) -> None:
    """A bar's first print."""
    spec.open = spec.high = spec.low = price
    spec.first_seq = seq
    spec.ts_open_ns = clock_ns
    if spec.kind == TIME:
        spec.bucket_end_ns = day.open_ns + ((clock_ns - day.open_ns) // spec.interval_ns + 1) * spec.interval_ns


@leaf
def _first_from(clock_ns: int, clocks: Any, start: int, stop: int) -> int:
    """The first of these places whose print's clock, one place on, is no earlier; the last one's is not."""
    low, high = start, stop - 1
    while low < high:
        middle = (low + high) >> 1
        if clocks[middle + 1] >= clock_ns:
            high = middle
        else:
            low = middle + 1
    return low


@leaf
def _add_sums(
    start: int, stop: int, by_volume: float, by_dollar: float, clocks: Any, prices: Any, figures: Any, notes: Any,
    agents: bool, agent_volumes: Any, agent_lists: Any, spec: Any,
) -> Any:  # fmt: skip
    """Add prints to the pending bar's sums; the place after the print that reaches a limit, or stop.

    With ``agents`` their volumes are added up in the same loop, as the waits of the two hide each other.
    """
    volumes, signed, squares = figures[VOLUMES], figures[SIGNED], figures[SQUARE]
    volume, dollar = spec.volume, spec.dollar
    bought, sold = spec.buy_volume, spec.sell_volume
    dt_square, rv = spec.dt_square_ns2, spec.realised_var
    buyer_of, seller_of = notes[BUYER], notes[SELLER]
    by_buyer, by_seller = agent_volumes[0], agent_volumes[1]
    buyer_bits, seller_bits = by_buyer.view(np.int64), by_seller.view(np.int64)
    buy_list, sell_list = agent_lists[0], agent_lists[1]
    buyers, sellers = spec.buy_agents, spec.sell_agents
    before = clocks[start] if spec.n > 0 else clocks[start + 1]
    end: Any = stop
    for j in range(np.uint64(start), np.uint64(stop)):
        t = clocks[j + np.uint64(1)]
        dt = np.float64(t - before)
        before = t
        dt_square += dt * dt
        v = volumes[j]
        volume += v
        dollar += prices[j + np.uint64(1)] * v
        s = signed[j]
        bought += s if s > 0.0 else 0.0
        sold -= s if s < 0.0 else 0.0
        rv += squares[j]
        if agents:
            buyers = add_to_agent(np.uint64(buyer_of[j]), v, by_buyer, buyer_bits, buy_list, buyers)
            sellers = add_to_agent(np.uint64(seller_of[j]), v, by_seller, seller_bits, sell_list, sellers)
        if volume >= by_volume or dollar >= by_dollar:
            end = np.int64(j) + 1
            break
    spec.volume, spec.dollar = volume, dollar
    spec.buy_volume, spec.sell_volume = bought, sold
    spec.dt_square_ns2, spec.realised_var = dt_square, rv
    spec.buy_agents, spec.sell_agents = buyers, sellers
    return end


@leaf
def _add_counts(start: int, stop: int, prices: Any, price_bits: Any, sides: Any, spec: Any) -> None:
    """Count prints into the pending bar, and its high and low: prices are in the order of their bit patterns."""
    most, least = np.float64(spec.high).view(np.int64), np.float64(spec.low).view(np.int64)
    for j in range(np.uint64(start + 1), np.uint64(stop + 1)):
        most = max(most, price_bits[j])
        least = min(least, price_bits[j])
    up = down = 0
    for j in range(np.uint64(start), np.uint64(stop)):
        before, p = prices[j], prices[j + np.uint64(1)]
        up += p > before
        down += p < before
    buys = sells = 0
    for j in range(np.uint64(start), np.uint64(stop)):
        buys += sides[j] > 0
        sells += sides[j] < 0
    spec.high, spec.low = np.int64(most).view(np.float64), np.int64(least).view(np.float64)
    spec.n += stop - start
    spec.up_ticks += up
    spec.down_ticks += down
    spec.buy_n += buys
    spec.sell_n += sells


@leaf
def _walk(
    m: int, marked: int, base: int, first_seq: int, book_seq: int, day: Any, spec: Any, left: Any, ring_ts: Any,
    ring: Any, agent_volumes: Any, agent_lists: Any, figures: Any, notes: Any, out: Any,
) -> int:  # fmt: skip
    """Take a block's prints, which begin at ``base`` in the ring, into one specification's bars; bars closed."""
    kind = spec.kind
    by_volume = spec.threshold if kind == VOLUME else np.nan
    by_dollar = spec.threshold if kind == DOLLAR else np.nan
    # One place back: a print's predecessor sits at its own index, it at the next.
    clocks, prices = ring_ts[base - 1 : base + m], ring[RING_PRICE, base - 1 : base + m]
    closed = mark = start = 0
    while True:
        if spec.n == 0 and start < m:
            _begin(clocks[start + 1], prices[start + 1], first_seq + notes[ROW, start], day, spec)
        end, ready = m, False
        if kind == TICK and spec.n + m - start >= spec.threshold:
            end, ready = start + np.int64(spec.threshold) - spec.n, True
        if kind == TIME and start < m and clocks[m] >= spec.bucket_end_ns:
            end, ready = _first_from(spec.bucket_end_ns, clocks, start, m), True
        if end > start:
            end = _add_sums(
                start, end, by_volume, by_dollar, clocks, prices, figures, notes, day.agents > 0,
                agent_volumes, agent_lists, spec,
            )  # fmt: skip
            ready = ready or spec.volume >= by_volume or spec.dollar >= by_dollar
            _add_counts(start, end, prices, prices.view(np.int64), notes[SIDE], spec)
            mark = _add_marked(figures, notes, mark, marked, end, spec)
            start = end
        if not ready:
            return closed
        # A time bar closes before the next print, any other with its own last.
        close_bar(
            out[closed], 0, spec.bucket_end_ns if kind == TIME else clocks[end],
            first_seq + notes[ROW, end - 1] if end > 0 else day.last_seq, book_seq if end > 0 else day.book_seq,
            base + end, day, spec, left, ring_ts, ring, agent_volumes, agent_lists,
        )  # fmt: skip
        closed += 1


@leaf
def advance(
    ts_ns: Any, price: Any, volume: Any, aggressor: Any, trade_type: Any, flags: Any, buy_agent: Any,
    sell_agent: Any, row: int, first_seq: int, book_seq: int, hole_from: int, hole_to: int, finish: bool,
    first_type: int, last_type: int, allowed: Any, days: Any, specs: Any, left: Any, ring_ts: Any, ring: Any,
    agent_ids: Any, agent_slots: Any, agent_volumes: Any, agent_lists: Any, figures: Any, notes: Any, out: Any,
    out_n: Any,
) -> Any:  # fmt: skip
    """Take prints ``row..`` of a chunk; with ``finish``, close the current session after them.

    Args:
        ts_ns .. sell_agent: columns of :class:`~tapelab.quant.ticks.Ticks`.
        row: first row to take.
        first_seq: sequence number of row 0.
        book_seq: of the chunk.
        hole_from, hole_to: a span of event time known to lie in no session.
        finish: whether to close the current session after the prints.
        first_type, last_type: a run of trade types that enter bars, as of ``eligibility.first_run``.
        allowed: (256,) whether a trade type enters bars.
        days .. out_n: arrays of :class:`~tapelab.quant.bars.state.BarState`.

    Returns:
        ``(row, status)``: the next row to take and why the kernel returned there. The caller makes the
        session of that row current, or enlarges the array, and calls again.
    """
    day = days[0]
    n = len(ts_ns)
    price_bits, volume_bits = price.view(np.int64), volume.view(np.int64)
    while row < n:
        stop = min(row + BLOCK, n)
        status = _room(stop - row, day, specs, left, ring_ts, ring, len(agent_ids), out, out_n)
        if status != DONE:
            return row, status
        base = day.ring_end
        if (
            in_order(ts_ns, row, stop, day)
            and none_barred(trade_type, flags, row, stop, first_type, last_type, allowed)
            and all_sound(price_bits, volume_bits, row, stop)
        ):
            take_all(ts_ns, price, volume, aggressor, trade_type, flags, row, stop, day, ring_ts, ring, figures, notes)
            m, taken, status = stop - row, stop - row, DONE
        else:
            m, taken, status = take_eligible(
                ts_ns[row:stop], price[row:stop], volume[row:stop], aggressor[row:stop], trade_type[row:stop],
                flags[row:stop], hole_from, hole_to, allowed, day, ring_ts, ring, figures, notes,
            )  # fmt: skip
        if m > 0:
            marked = add_to_day(m, day, ring, figures, notes)
            name_agents(buy_agent[row:stop], sell_agent[row:stop], m, day, agent_ids, agent_slots, notes)
            for k in range(len(specs)):
                out_n[k] += _walk(
                    m, marked, base, first_seq + row, book_seq, day, specs[k], left[k], ring_ts, ring,
                    agent_volumes[k], agent_lists[k], figures, notes, out[k, out_n[k] :],
                )  # fmt: skip
            day.last_seq = first_seq + row + notes[ROW, m - 1]
            day.book_seq = book_seq
        row += taken
        if status != DONE:
            return row, status
    if finish and day.day != 0:
        status = _room(0, day, specs, left, ring_ts, ring, len(agent_ids), out, out_n)
        if status != DONE:
            return row, status
        for k in range(len(specs)):
            close_bar(
                out[k, out_n[k]], _SESSION_END, day.close_ns, day.last_seq, day.book_seq, day.ring_end, day, specs[k],
                left[k], ring_ts, ring, agent_volumes[k], agent_lists[k],
            )  # fmt: skip
            out_n[k] += 1
        day.day = 0
        day.open_ns = day.next_open_ns = day.close_ns
        day.ring_end = 0
    return row, DONE
