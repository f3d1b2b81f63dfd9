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

#: Bars that are looked at together: their marks stay in the first-level cache, and columns are read in long runs.
BLOCK: Final = 4_096
_EXPONENT: Final = 0x7FF0000000000000


class Outlook(NamedTuple):
    """What no threshold changes: per bar the round-trip cost as a fraction, and whether the rule forces a decision.

    Filled for all bars where several thresholds look at it (``ready``); else of length 0, as a single run looks at
    everything at once.
    """

    cost: Any
    forced: Any
    ready: bool


@njit
def look_out(market: Market, settings: Settings, start: int, end: int, outlook: Outlook) -> bool:
    """Fill the outlook of the bars from ``start`` to ``end``, from its first row on, for several thresholds.

    Returns:
        whether all their prices are finite.
    """
    price, costs = market.price[start:end], settings.costs
    good = _finite(price, market.fill_price[start:end])
    fee, bps, spread, slippage, tick_size, multiplier = costs
    _cost_fractions(price, fee, bps, spread, slippage, tick_size, multiplier, outlook.cost)
    _force(
        market.ts_ns[start:end],
        market.session_close_ns[start:end],
        market.session_end[start:end],
        market.usable[start:end],
        settings.rule.flatten_ns,
        outlook.forced,
    )
    if start < end == len(market.ts_ns):
        outlook.forced[end - start - 1] = 1
    return good


# Functions of their own, each simple enough for the compiler to do several bars at a time.
@njit
def _finite(price: Any, fill_price: Any) -> bool:
    good = True
    for j in range(len(price)):
        good &= math.isfinite(price[j]) & math.isfinite(fill_price[j])
    return good


@njit
def _cost_fractions(
    price: Any,
    fee_per_contract: float,
    fee_bps: float,
    spread_ticks: float,
    slippage_ticks: float,
    tick_size: float,
    multiplier: float,
    out: Any,
) -> None:
    for j in range(len(price)):
        out[j] = round_trip_cost_fraction(
            price[j], fee_per_contract, fee_bps, spread_ticks, slippage_ticks, tick_size, multiplier
        )


@njit
def _force(ts_ns: Any, close_ns: Any, session_end: Any, usable: Any, flatten_ns: int, out: Any) -> None:
    for j in range(len(ts_ns)):
        out[j] = session_end[j] | (usable[j] ^ 1) | np.uint8(ts_ns[j] >= close_ns[j] - flatten_ns)


@njit
def find_stops(expected: Any, cost: Any, forced: Any, threshold: float, stops: Any) -> None:
    """Mark the bars at which the rule may do more than keep the position, a time-out aside."""
    for j in range(len(expected)):
        stops[j] = forced[j] | np.uint8(abs(expected[j]) > cost[j] + threshold)


@njit
def find_stops_at_once(market: Market, settings: Settings, threshold: float, start: int, end: int, stops: Any) -> bool:
    """Marks of the bars from ``start`` to ``end`` for one threshold, each column read once.

    Returns:
        whether all their prices are finite.
    """
    fee, bps, spread, slippage, tick_size, multiplier = settings.costs
    price = market.price[start:end]
    good = _mark(
        fee,
        bps,
        spread,
        slippage,
        tick_size,
        multiplier,
        threshold,
        settings.rule.flatten_ns,
        price,
        price.view(np.int64),
        market.fill_price[start:end].view(np.int64),
        market.ts_ns[start:end],
        market.session_close_ns[start:end],
        market.session_end[start:end],
        market.usable[start:end],
        market.expected_return[start:end],
        stops,
    )
    if start < end == len(market.ts_ns):
        stops[end - start - 1] = 1
    return good


@njit
def _mark(
    fee: float,
    bps: float,
    spread: float,
    slippage: float,
    tick_size: float,
    multiplier: float,
    threshold: float,
    flatten_ns: int,
    price: Any,
    price_bits: Any,
    fill_bits: Any,
    ts_ns: Any,
    close_ns: Any,
    session_end: Any,
    usable: Any,
    expected: Any,
    stops: Any,
) -> bool:
    bad = np.int64(0)
    for j in range(len(price)):
        # All bits of the exponent set is an infinity or NaN; whole numbers leave the loop without branches.
        bad |= np.int64((price_bits[j] & _EXPONENT) == _EXPONENT) | np.int64((fill_bits[j] & _EXPONENT) == _EXPONENT)
        forced = session_end[j] | (usable[j] ^ 1) | np.uint8(ts_ns[j] >= close_ns[j] - flatten_ns)
        cost = round_trip_cost_fraction(price[j], fee, bps, spread, slippage, tick_size, multiplier)
        stops[j] = forced | np.uint8(abs(expected[j]) > cost + threshold)
    return bool(bad == 0)


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
