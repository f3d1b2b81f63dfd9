"""What trading costs: fees, half the spread and slippage, per side and for a round trip."""

from __future__ import annotations

from typing import Any, NamedTuple

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
    prices = np.ascontiguousarray(prices, np.float64)
    fractions: npt.NDArray[np.float64] = 2.0 * one_side_costs(prices, costs) / prices
    return fractions
