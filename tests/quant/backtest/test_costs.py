"""Costs by hand, to the cent."""

from __future__ import annotations

import math

import pytest

from tapelab.quant.backtest.costs import (
    CostModel,
    one_side_cost,
    one_side_costs,
    round_trip_cost_fraction,
    round_trip_cost_fractions,
)

MINI_INDEX = CostModel(
    fee_per_contract=0.25, fee_bps=0.0, spread_ticks=1.0, slippage_ticks=0.25, tick_size=5.0, multiplier=0.2
)
CRYPTO = CostModel(
    fee_per_contract=0.0, fee_bps=5.0, spread_ticks=1.0, slippage_ticks=0.0, tick_size=0.1, multiplier=1.0
)


def test_a_mini_index_contract_pays_its_fee_half_the_spread_and_slippage() -> None:
    # R$ 0.25 / 0.20 per point = 1.25 points; half of one tick is 2.5 points; a quarter tick 1.25 points.
    assert one_side_cost(130_000.0, *MINI_INDEX) == 5.0
    # Five points per side are R$ 1.00 for one contract, R$ 2.00 for the round trip.
    assert round_trip_cost_fraction(130_000.0, *MINI_INDEX) * 130_000.0 * MINI_INDEX.multiplier == pytest.approx(2.0)


def test_a_fee_in_basis_points_follows_the_price() -> None:
    # 5 bps of 2,000.00 are 1.00; half of a tick of 0.1 is 0.05.
    assert one_side_cost(2_000.0, *CRYPTO) == pytest.approx(1.05)
    assert one_side_cost(4_000.0, *CRYPTO) == pytest.approx(2.05)
    assert round_trip_cost_fraction(2_000.0, *CRYPTO) == pytest.approx(2.10 / 2_000.0)


def test_a_missing_price_gives_a_missing_cost() -> None:
    assert math.isnan(one_side_cost(math.nan, *CRYPTO))


def test_many_prices_cost_what_each_costs_to_the_bit() -> None:
    prices = [130_000.0, 99_999.5, 1.0 / 3.0]
    assert one_side_costs(prices, CRYPTO).tolist() == [one_side_cost(p, *CRYPTO) for p in prices]
    fractions = [round_trip_cost_fraction(p, *CRYPTO) for p in prices]
    assert round_trip_cost_fractions(prices, CRYPTO).tolist() == fractions
    assert not len(one_side_costs([], CRYPTO))
