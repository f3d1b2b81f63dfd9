"""Order types and the queue model: where a passive order rests, and which prints fill it.

Assumptions, all from prints alone:

- *Quotes*. A buyer's print is at the best ask, a seller's at the best bid; the other side lies the spread of the
  bar that decided away, at least a tick.
- *Price*. A passive order joins the best price of its side as it was known at the decision, on the grid of
  ticks. Where that price would trade at once when the order arrives, the order rests at the best price of its
  side as it is then (a post-only order that slides).
- *Queue*. At the best price, or behind it, ``ahead`` lots stand before the order; at a better price none do.
- *Advance*. Only prints at our price against us move the queue: cancellations ahead cannot be seen and count
  as none. This is the risk-averse model; the position in the queue and its worth are those of Moallemi and Yuan,
  "A model for queue position valuation in a limit order book" (2016).
- *Market orders*. They trade at the next print as if it were the middle of the quotes, as bar by bar: half the
  spread and slippage come on top, whichever side the print is of. Against the quotes above that is half a spread
  too much at a print of the order's own side and half a spread too little at one of the other: too much where
  orders follow the flow, by half a spread per lot at most. A passive order's reference is the middle of the quotes.
- *Fill*. What a print trades beyond the queue fills the order, in parts if need be. A print through our price
  fills all that is left, at our price, whichever side crossed.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import ON_TICK

#: Longer than any tape; its sum with any event time still fits 64 bits.
FOREVER_NS: Final = 1 << 61


class OrderPolicy(NamedTuple):
    """How a change of position is worked.

    Forced exits (the session's end, a score that does not count) are market orders under every policy.

    Args:
        limit: by passive limit orders; false sends market orders.
        patience_ns: how long a passive order waits in the market, > 0.
        then_market: what is left after that goes to the market; otherwise it joins the best price anew, or
            keeps its place where that price has not moved.
    """

    limit: bool = False
    patience_ns: int = FOREVER_NS
    then_market: bool = False


@njit
def passive_price(direction: int, print_price: float, print_side: int, width: float, tick_size: float) -> float:
    """The best price of one side after a print: the bid for a buyer (+1), the ask for a seller (-1).

    Args:
        width: the spread in price units, >= one tick.
    """
    price = print_price if print_side != direction else print_price - direction * width
    return direction * math.floor(direction * price / tick_size + ON_TICK) * tick_size


@njit
def advance(ahead: float, left: float, volume: float) -> tuple[float, float]:
    """A print of some lots at our price against us: what is still ahead, and how many lots it fills.

    Args:
        ahead: lots before the order.
        left: lots of the order that wait, > 0.
        volume: lots of the print.
    """
    if volume <= ahead:
        return ahead - volume, 0.0
    return 0.0, min(volume - ahead, left)


@njit
def wait(
    prints: Any,
    row: int,
    until: int,
    expires_ns: int,
    direction: int,
    limit: float,
    half_tick: float,
    ahead: float,
    left: float,
) -> tuple[int, float, float]:
    """Let prints ``row .. until`` pass by a resting order, up to the first that fills some of it or is too late.

    Prices within half a tick of the order's are at its price.

    Args:
        prints: ``PRINT_DTYPE``.
        expires_ns: a print strictly later finds the order out of patience.

    Returns:
        ``(row, ahead, filled)``: ``until + 1`` where nothing happened; nothing filled where patience ran out.
    """
    while row <= until:
        now = prints[row]
        if now.ts_ns > expires_ns:
            return row, ahead, 0.0
        beyond = direction * (now.price - limit)
        if beyond < -half_tick:
            return row, ahead, left
        if now.side != direction and beyond <= half_tick:
            ahead, filled = advance(ahead, left, now.volume)
            if filled > 0.0:
                return row, ahead, filled
        row += 1
    return row, ahead, 0.0
