"""Which bars the rule has to be asked at: found for a block of bars at a time, without branches.

Most bars neither trade nor call for a decision; what is left is found by looking for the next mark.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import round_trip_cost_fraction
from tapelab.quant.backtest.layout import Market, Settings

#: Bars that are looked at together; their marks stay in the first-level cache.
BLOCK: Final = 1_024


class Outlook(NamedTuple):
    """What no threshold changes: per bar the round-trip cost as a fraction, and whether the rule forces a decision.

    Filled already for all bars where ``ready``; else scratch with room for ``BLOCK`` bars.
    """

    cost: Any
    forced: Any
    ready: bool


@njit
def look_out(market: Market, settings: Settings, start: int, end: int, outlook: Outlook) -> bool:
    """Fill the outlook of the bars from ``start`` to ``end``, from its first row on.

    Returns:
        whether all their prices are finite.
    """
    costs, flatten_ns = settings.costs, settings.rule.flatten_ns
    ts_ns, close_ns = market.ts_ns[start:end], market.session_close_ns[start:end]
    session_end, usable = market.session_end[start:end], market.usable[start:end]
    price, fill_price = market.price[start:end], market.fill_price[start:end]
    cost, forced = outlook.cost, outlook.forced
    good = True
    for j in range(end - start):
        good &= math.isfinite(price[j]) & math.isfinite(fill_price[j])
        cost[j] = round_trip_cost_fraction(
            price[j],
            costs.fee_per_contract,
            costs.fee_bps,
            costs.spread_ticks,
            costs.slippage_ticks,
            costs.tick_size,
            costs.multiplier,
        )
    for j in range(end - start):
        forced[j] = session_end[j] | (usable[j] ^ 1) | np.uint8(ts_ns[j] >= close_ns[j] - flatten_ns)
    if start < end == len(market.ts_ns):
        forced[end - start - 1] = 1
    return good


@njit
def find_stops(expected: Any, cost: Any, forced: Any, threshold: float, stops: Any) -> None:
    """Mark the bars at which the rule may do more than keep the position, a time-out aside."""
    for j in range(len(expected)):
        stops[j] = forced[j] | np.uint8(abs(expected[j]) > cost[j] + threshold)


@njit
def next_stop(stops: Any, words: Any, first: int, end: int) -> int:
    """The first mark from a row on, or ``end``; ``words`` are the marks, eight at a time."""
    j = first
    while j < end and j & 7 and not stops[j]:
        j += 1
    if not j & 7:
        while j + 8 <= end and words[j >> 3] == 0:
            j += 8
    while j < end and not stops[j]:
        j += 1
    return j


@njit
def timed_out(ts_ns: Any, first: int, end: int, since_ns: int, max_hold_ns: int) -> int:
    """The first row, or ``end``, by which a position is held too long."""
    i = first
    while i < end and ts_ns[i] - since_ns <= max_hold_ns:
        i += 1
    return i
