"""Every line of what a fill costs, worked by hand to the cent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tapelab.quant.backtest.costs import CostModel, Frictions, fill_costs
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.engine import run_backtest
from tapelab.quant.backtest.results import BacktestResult

SECOND = 1_000_000_000
MINI_INDEX = CostModel(0.25, 0.0, 1.0, 0.25, 5.0, 0.2)
MINI_DOLLAR = CostModel(1.10, 0.0, 1.0, 0.25, 0.5, 10.0)
#: 1.5 bps, two ticks of spread, no slippage, cents, one share a lot.
SHARE = CostModel(0.0, 1.5, 2.0, 0.0, 0.01, 1.0)


def parts(
    direction: int,
    price: float,
    costs: CostModel,
    *,
    lots: float = 1.0,
    volatility: float = 0.0,
    volume: float = 0.0,
    spread: float | None = None,
    frictions: Frictions = Frictions(),
) -> tuple[float, ...]:
    """Fee, half spread and slippage of the whole order in currency."""
    quoted = costs.spread_ticks * costs.tick_size if spread is None else spread
    per_lot = fill_costs(
        direction,
        price,
        lots,
        quoted,
        volatility,
        volume,
        costs.fee_per_contract,
        costs.fee_bps,
        costs.slippage_ticks,
        costs.tick_size,
        costs.multiplier,
        frictions.slippage_volatility,
        frictions.impact,
        frictions.round_to_tick,
    )
    return tuple(part * costs.multiplier * lots for part in per_lot)


def test_two_mini_index_contracts() -> None:
    # Each: R$ 0.25 of fees; half a tick is 2.5 points of R$ 0.20: R$ 0.50; a quarter tick: R$ 0.25.
    assert parts(1, 130_000.0, MINI_INDEX, lots=2.0) == pytest.approx((0.50, 1.00, 0.50))


def test_three_mini_dollar_contracts() -> None:
    # Each: R$ 1.10; half of 0.5 points of R$ 10: R$ 2.50; a quarter of 0.5 points: R$ 1.25.
    assert parts(-1, 5_400.0, MINI_DOLLAR, lots=3.0) == pytest.approx((3.30, 7.50, 3.75))


def test_a_fee_in_basis_points_and_a_spread_of_two_ticks() -> None:
    # 100 shares at 40.00: 1.5 bps of 4,000.00 are 0.60; one cent a share: 1.00.
    assert parts(1, 40.0, SHARE, lots=100.0) == pytest.approx((0.60, 1.00, 0.0))


def test_a_quoted_spread_stands_in_for_the_assumed_one_and_a_missing_one_is_none() -> None:
    assert parts(1, 130_000.0, MINI_INDEX, spread=15.0)[1] == pytest.approx(1.50)
    assert parts(1, 130_000.0, MINI_INDEX, spread=math.nan)[1] == 0.0
    assert parts(1, 130_000.0, MINI_INDEX, spread=-5.0)[1] == 0.0


def test_slippage_by_volatility() -> None:
    # Sigma 0.0002 of 100,000 is 20 points; a tenth is 2 points: R$ 0.40, beside the fixed R$ 0.25.
    scaled = Frictions(slippage_volatility=0.1)
    assert parts(1, 100_000.0, MINI_INDEX, volatility=0.0002, frictions=scaled)[2] == pytest.approx(0.65)
    assert parts(1, 100_000.0, MINI_INDEX, volatility=math.nan, frictions=scaled)[2] == pytest.approx(0.25)


def test_impact_by_the_square_root_of_the_share_of_volume() -> None:
    # 4 of 400 lots: the root of 1 % is 0.1; of 20 points 2 points: R$ 0.40 a lot beside R$ 0.25, 4 lots R$ 2.60.
    law = Frictions(impact=1.0)
    got = parts(1, 100_000.0, MINI_INDEX, lots=4.0, volatility=0.0002, volume=400.0, frictions=law)
    assert got[2] == pytest.approx(2.60)
    # Sixteen lots are twice the root: 4 points, R$ 0.80 + R$ 0.25 each, R$ 16.80.
    got = parts(1, 100_000.0, MINI_INDEX, lots=16.0, volatility=0.0002, volume=400.0, frictions=law)
    assert got[2] == pytest.approx(16.80)
    # Without a volume the order is all of it: 20 points, R$ 4.00 + R$ 0.25.
    got = parts(1, 100_000.0, MINI_INDEX, volatility=0.0002, volume=math.nan, frictions=law)
    assert got[2] == pytest.approx(4.25)


def test_prices_got_lie_on_ticks_against_the_trader() -> None:
    # Half spread 2.5 and slippage 1.25 above 100,000 is 100,003.75, so 100,005: slippage 2.5 points, R$ 0.50.
    rounded = Frictions(round_to_tick=True)
    assert parts(1, 100_000.0, MINI_INDEX, frictions=rounded)[1:] == pytest.approx((0.50, 0.50))
    assert parts(-1, 100_000.0, MINI_INDEX, frictions=rounded)[1:] == pytest.approx((0.50, 0.50))
    # A price that lies on a tick already stays there, whatever 40.01 / 0.01 leaves in its last digits.
    for cents in range(3_900, 4_200):
        price = cents / 100
        for direction in (1, -1):
            assert parts(direction, price, SHARE, frictions=rounded)[2] == pytest.approx(0.0, abs=1e-9)


def run(price: list[float], expected: list[float], costs: CostModel = MINI_INDEX, **more: Any) -> BacktestResult:
    n = len(price)
    params = DecisionParams(0.0, 0, 10**15, 0)
    ends = [i == n - 1 for i in range(n)]
    columns = (np.arange(n) * SECOND, price, more.pop("fill", price), [20260105] * n, np.full(n, 10**15), ends)
    return run_backtest(*columns, [True] * n, expected, params, costs, more.pop("lots", 1.0), **more)


def test_a_trade_tells_its_signal_its_prices_and_its_costs() -> None:
    result = run(
        [100_000.0, 100_100.0], [0.01, -0.5], fill=[100_010.0, 100_090.0], lots=2.0, frictions=Frictions(impact=1.0),
        volatility=[0.0002, 0.0001], volume=[200.0, 800.0],
    )  # fmt: skip
    (trade,) = result.trades
    assert (trade["lots"], trade["entry_signal"], trade["exit_signal"]) == (2.0, 0.01, -0.5)
    assert (trade["entry_asked"], trade["entry_price"]) == (100_000.0, 100_010.0)
    assert (trade["exit_asked"], trade["exit_price"]) == (100_100.0, 100_090.0)
    # In: root(2/200) = 0.1 of 20.002 points is 2.0002; out: root(2/800) = 0.05 of 10.009 is 0.50045.
    assert trade["entry_got"] == pytest.approx(100_010.0 + 2.5 + 1.25 + 2.0002)
    assert trade["exit_got"] == pytest.approx(100_090.0 - 2.5 - 1.25 - 0.50045)
    assert trade["gross"] == pytest.approx(80.0 * 0.2 * 2)
    assert trade["fee"] == pytest.approx(0.25 * 2 * 2)
    assert trade["spread"] == pytest.approx(2.5 * 0.2 * 2 * 2)
    assert trade["slippage"] == pytest.approx((1.25 + 2.0002 + 1.25 + 0.50045) * 0.2 * 2)
    assert trade["net"] == pytest.approx(32.0 - 1.0 - 2.0 - 2.00026)
    kpis = result.kpis
    assert (kpis.fees, kpis.spread) == pytest.approx((1.0, 2.0))
    assert kpis.slippage == pytest.approx(2.00026)
    assert kpis.costs == kpis.fees + kpis.spread + kpis.slippage
    assert result.equity[-1] == kpis.net_pnl == pytest.approx(26.99974)


def test_a_limit_makes_positions_smaller_and_zero_forbids_them() -> None:
    price = [100_000.0, 100_100.0, 100_000.0, 100_000.0]
    both = run(price, [0.01, -0.01, 0.0, 0.0], lots=4.0, frictions=Frictions(max_long=3.0, max_short=1.0))
    assert both.trades["side"].tolist() == [1, -1]
    assert both.trades["lots"].tolist() == [3.0, 1.0]
    # Three lots up 100 points, one lot down 100 points; six and two sides of R$ 1.
    assert both.trades["gross"] == pytest.approx([60.0, 20.0])
    assert both.trades["cost"] == pytest.approx([6.0, 2.0])
    assert both.kpis.net_pnl == pytest.approx(72.0)
    assert both.kpis.turnover == pytest.approx((3 * 100_000.0 + 4 * 100_100.0 + 100_000.0) * 0.2)
    long_only = run(price, [0.01, -0.01, 0.0, 0.0], lots=4.0, frictions=Frictions(max_short=0.0))
    assert long_only.trades["side"].tolist() == [1]
    assert long_only.side.tolist() == [1, -1, -1, 0]  # the decision stays that of the live rule
    assert long_only.kpis.net_pnl == pytest.approx(80.0 - 8.0)


def test_what_a_friction_scales_with_must_be_there() -> None:
    with pytest.raises(ValueError, match="volatility: expected a column"):
        run([1.0], [0.0], frictions=Frictions(slippage_volatility=0.1))
    with pytest.raises(ValueError, match="volume: expected a column"):
        run([1.0], [0.0], frictions=Frictions(impact=0.1), volatility=[0.1])
    with pytest.raises(ValueError, match=r"spread: expected shape \(1,\)"):
        run([1.0], [0.0], spread=[1.0, 2.0])
    with pytest.raises(ValueError, match="position_lots: expected > 0"):
        run([1.0], [0.0], lots=0.0)
