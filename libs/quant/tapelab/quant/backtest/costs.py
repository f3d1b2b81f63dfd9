"""What trading costs: fees, half the spread and slippage, per side and for a round trip.

``CostModel`` is what a decision expects to pay, known beforehand and the same live; ``Frictions`` is what a
simulated fill pays beyond that, because it comes at a volatile moment, is large against the volume, or must
lie on the grid of prices.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit


class CostModel(NamedTuple):
    """Costs of one side of a trade; the fields of ``Costs`` and ``Instrument`` under the same names.

    Args:
        fee_per_contract: currency per lot and side.
        fee_bps: basis points of the notional, per side.
        spread_ticks: quoted spread in ticks; a side pays half of it.
        slippage_ticks: slippage in ticks, per side.
        tick_size: price units per tick, > 0.
        multiplier: currency per price unit and lot, > 0.
    """

    fee_per_contract: float
    fee_bps: float
    spread_ticks: float
    slippage_ticks: float
    tick_size: float
    multiplier: float


class Frictions(NamedTuple):
    """What a fill pays besides the cost model's fixed slippage, and how large a position may be.

    Slippage per side, as a fraction of the price, is
    ``slippage_volatility * sigma + impact * sigma * sqrt(lots / volume)``: sigma is the bar's volatility and
    volume its lots. The square root of the share of volume is the impact law of Almgren, Thum, Hauptmann and
    Li, "Direct estimation of equity market impact" (2005), and Toth et al., "Anomalous price impact and the
    critical nature of liquidity in financial markets" (2011), whose factor is near 1.

    Args:
        slippage_volatility: share of sigma, >= 0.
        impact: factor of the square-root law, >= 0.
        round_to_tick: the price got, half spread and slippage included, is rounded against the trader to the
            next tick; the difference counts as slippage.
        max_long: largest long position in lots; 0 forbids them.
        max_short: largest short position in lots; 0 forbids them.
    """

    slippage_volatility: float = 0.0
    impact: float = 0.0
    round_to_tick: bool = False
    max_long: float = math.inf
    max_short: float = math.inf


#: A price this close to a tick lies on it, in ticks; the division by the tick size leaves less.
ON_TICK: Final = 1e-6


@njit
def fill_costs(
    direction: int,
    price: float,
    lots: float,
    spread: float,
    volatility: float,
    volume: float,
    fee_per_contract: float,
    fee_bps: float,
    slippage_ticks: float,
    tick_size: float,
    multiplier: float,
    slippage_volatility: float,
    impact: float,
    round_to_tick: bool,
) -> tuple[float, float, float]:
    """What a market order of some lots pays per lot, in price units: fee, half the spread, slippage.

    Args:
        direction: +1 buys, -1 sells.
        price: the print it trades at.
        lots: size of the order, > 0.
        spread: quoted or estimated spread in price units; a NaN or negative one counts as none.
        volatility: sigma of the bar, a fraction of the price; NaN counts as none.
        volume: lots of the bar; where it is not positive, the order counts as large as all of it.
    """
    fee = fee_per_contract / multiplier + price * fee_bps / 1e4
    half = spread / 2.0 if spread > 0.0 else 0.0
    slippage = slippage_ticks * tick_size
    if volatility > 0.0:
        share = lots / volume if volume > 0.0 else 1.0
        slippage += price * volatility * (slippage_volatility + impact * math.sqrt(share))
    if round_to_tick:
        got = direction * (price + direction * (half + slippage)) / tick_size
        slippage = direction * (direction * math.ceil(got - ON_TICK) * tick_size - price) - half
    return fee, half, slippage


@njit
def one_side_cost(
    price: float,
    fee_per_contract: float,
    fee_bps: float,
    spread_ticks: float,
    slippage_ticks: float,
    tick_size: float,
    multiplier: float,
) -> float:
    """Cost of buying or selling one lot at a price, in price units: call it as ``one_side_cost(price, *costs)``.

    Times ``multiplier`` and lots it is currency. A NaN price gives NaN.
    """
    fee = fee_per_contract / multiplier + price * fee_bps / 1e4
    return fee + (spread_ticks / 2.0 + slippage_ticks) * tick_size


@njit
def round_trip_cost_fraction(
    price: float,
    fee_per_contract: float,
    fee_bps: float,
    spread_ticks: float,
    slippage_ticks: float,
    tick_size: float,
    multiplier: float,
) -> float:
    """Cost of opening and closing a position at a price, as a fraction of the price.

    This is the cost that an expected return has to beat (see ``decision.decide``); call it as
    ``round_trip_cost_fraction(price, *costs)``. A NaN price gives NaN, a zero price inf.
    """
    side = one_side_cost(price, fee_per_contract, fee_bps, spread_ticks, slippage_ticks, tick_size, multiplier)
    return 2.0 * side / price


@njit
def _one_side_costs(
    prices: Any,
    fee_per_contract: float,
    fee_bps: float,
    spread_ticks: float,
    slippage_ticks: float,
    tick_size: float,
    multiplier: float,
    out: Any,
) -> None:
    for i in range(len(prices)):
        out[i] = one_side_cost(
            prices[i], fee_per_contract, fee_bps, spread_ticks, slippage_ticks, tick_size, multiplier
        )


def one_side_costs(prices: npt.ArrayLike, costs: CostModel) -> npt.NDArray[np.float64]:
    """:func:`one_side_cost` at each of some prices, shape ``(n,)``."""
    prices = np.ascontiguousarray(prices, np.float64)
    out = np.empty(len(prices))
    # One set of argument types, so that numba compiles one version whatever the caller holds.
    _one_side_costs(prices, *CostModel(*(float(value) for value in costs)), out)
    return out


def round_trip_cost_fractions(prices: npt.ArrayLike, costs: CostModel) -> npt.NDArray[np.float64]:
    """:func:`round_trip_cost_fraction` at each of some prices, shape ``(n,)``, equal to the bit."""
    fractions = one_side_costs(prices, costs)
    fractions *= 2.0
    fractions /= np.asarray(prices, np.float64)
    return fractions
