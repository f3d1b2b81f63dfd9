"""The backtest: by hand to the cent."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tapelab.quant.backtest.costs import CostModel
from tapelab.quant.backtest.decision import DecisionParams, Reason
from tapelab.quant.backtest.engine import run_backtest, sweep_thresholds
from tapelab.quant.backtest.results import BacktestResult, max_drawdown, sortino

SECOND = 1_000_000_000
COSTS = CostModel(0.25, 0.0, 1.0, 0.25, 5.0, 0.2)  # five points a side, R$ 0.20 a point
PARAMS = DecisionParams(threshold=0.0, cooldown_ns=0, max_hold_ns=30 * SECOND, flatten_ns=0)


def run(
    price: list[float],
    expected: list[float],
    *,
    fill: list[float] | None = None,
    day: list[int] | None = None,
    usable: list[bool] | None = None,
    params: DecisionParams = PARAMS,
    costs: CostModel = COSTS,
    lots: float = 1,
    step_s: int = 10,
) -> BacktestResult:
    n = len(price)
    days = day or [20260105] * n
    ends = [i == n - 1 or days[i + 1] != days[i] for i in range(n)]
    return run_backtest(
        np.arange(n) * step_s * SECOND,
        price,
        fill or price,
        days,
        np.full(n, 10**15),
        ends,
        usable or [True] * n,
        expected,
        params,
        costs,
        lots,
    )


def test_one_trade_to_the_cent() -> None:
    # Bought at 100,005 (one tick of latency), sold at 100,105: 100 points gross, 5 points a side: R$ 20 - R$ 2.
    result = run(
        [100_000.0, 100_050.0, 100_100.0, 100_100.0],
        [0.01, 0.0, math.nan, 0.0],
        fill=[100_005.0, 100_055.0, 100_100.0, 100_105.0],
    )
    assert result.side.tolist() == [1, 1, 1, 0]
    assert result.kpis.gross_pnl == pytest.approx(20.0)
    assert result.kpis.costs == pytest.approx(2.0)
    assert result.kpis.net_pnl == pytest.approx(18.0)
    (trade,) = result.trades
    assert (trade["entry_bar"], trade["exit_bar"], trade["side"], trade["reason"]) == (0, 3, 1, Reason.SESSION_END)
    assert trade["net"] == pytest.approx(18.0)
    assert trade["net_return"] == pytest.approx(90.0 / 100_005.0)
    assert result.kpis.turnover == pytest.approx((100_005.0 + 100_105.0) * 0.2)


def test_profit_is_marked_bar_by_bar() -> None:
    # Bought one tick above the mark (-R$ 1 and R$ 1 of costs), then +50 points a bar, sold at the mark.
    result = run([100_000.0, 100_050.0, 100_100.0], [0.01, 0.0, 0.0], fill=[100_005.0, 100_050.0, 100_100.0])
    assert result.gross == pytest.approx([-1.0, 10.0, 10.0])
    assert result.cost == pytest.approx([1.0, 0.0, 1.0])
    assert result.net_return == pytest.approx([-10 / 100_000.0, 50 / 100_050.0, 45 / 100_100.0])


def test_a_flip_pays_both_positions_and_closes_one_trade_as_it_opens_the_next() -> None:
    result = run([100_000.0, 100_100.0, 100_000.0], [0.01, -0.01, 0.0], lots=3)
    assert result.side.tolist() == [1, -1, 0]
    assert result.trades["side"].tolist() == [1, -1]
    assert result.trades["reason"].tolist() == [Reason.FLIP, Reason.SESSION_END]
    # Three lots, twice 100 points at R$ 0.20: R$ 120 gross; four sides of R$ 1 each: R$ 12.
    assert result.kpis.gross_pnl == pytest.approx(120.0)
    assert result.kpis.costs == pytest.approx(12.0)
    assert result.cost == pytest.approx([3.0, 6.0, 3.0])


def test_a_held_position_exits_after_the_maximum_hold_and_a_renewal_prolongs_it() -> None:
    price = [100_000.0] * 9
    once = run(price, [0.01] + [0.0] * 8)
    assert once.side.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert once.trades["reason"].tolist() == [Reason.EXIT]
    renewed = run(price, [0.01, 0.0, 0.01] + [0.0] * 6)
    assert renewed.side.tolist() == [1, 1, 1, 1, 1, 1, 0, 0, 0]


def test_days_are_flat_in_between_and_counted_apart() -> None:
    result = run(
        [100_000.0, 100_100.0, 110_000.0, 109_950.0],
        [0.01, 0.01, 0.01, 0.01],
        day=[20260105, 20260105, 20260106, 20260106],
    )
    assert result.side.tolist() == [1, 0, 1, 0]
    assert result.days.tolist() == [20260105, 20260106]
    assert result.day_net == pytest.approx([20.0 - 2.0, -10.0 - 2.0])
    assert result.kpis.n_trades == 2
    assert result.kpis.hit_rate == 0.5
    assert result.kpis.max_drawdown == pytest.approx(12.0)


def test_an_unusable_score_flattens() -> None:
    result = run([100_000.0] * 4, [0.01] * 4, usable=[True, False, True, True])
    assert result.side.tolist() == [1, 0, 1, 0]
    assert result.trades["reason"].tolist() == [Reason.GAP, Reason.SESSION_END]


def test_without_an_edge_nothing_happens_and_ratios_are_undefined() -> None:
    result = run([100_000.0] * 5, [0.00005] * 5)  # the round trip costs 0.0001
    assert result.kpis.n_trades == 0
    assert result.kpis.net_pnl == 0.0
    assert math.isnan(result.kpis.hit_rate)
    assert math.isnan(result.kpis.sharpe_daily)
    assert not len(run([], []).trades)


def test_a_missing_price_is_refused() -> None:
    with pytest.raises(ValueError, match="fill_price: expected finite prices, got 1"):
        run([1.0, 2.0], [0.0, 0.0], fill=[1.0, math.nan])
    with pytest.raises(ValueError, match=r"expected_return: expected shape \(2,\)"):
        run([1.0, 2.0], [0.0])


def test_drawdown_starts_from_nothing_and_sortino_punishes_losses_alone() -> None:
    assert max_drawdown(np.array([-1.0, 3.0, -2.0, -0.5])) == 2.5
    assert max_drawdown(np.array([-4.0, 3.0])) == 4.0
    assert sortino(np.array([3.0, -1.0]), 1) == pytest.approx(1.0 / math.sqrt(0.5))


def test_ratios_are_annualised_by_the_trading_days_of_a_year() -> None:
    price = [100.0, 101.0, 101.0, 103.0, 103.0, 102.0]
    days = np.repeat([20260105, 20260106, 20260107], 2)
    columns = (
        np.arange(6) * SECOND,
        price,
        price,
        days,
        np.full(6, 10**15),
        np.arange(6) % 2 == 1,
        [True] * 6,
        [9.0, 0.0] * 3,
    )
    weekdays = run_backtest(*columns, PARAMS, COSTS).kpis
    every = run_backtest(*columns, PARAMS, COSTS, days_per_year=365).kpis
    swept = sweep_thresholds([0.0], *columns, PARAMS, COSTS, days_per_year=365).kpis(0)
    for name in ("sharpe_daily", "sortino_daily"):
        assert getattr(every, name) == pytest.approx(getattr(weekdays, name) * math.sqrt(365 / 252))
        assert getattr(swept, name) == getattr(every, name)
    assert every.sharpe_trade == weekdays.sharpe_trade
    with pytest.raises(ValueError, match="days_per_year: expected > 0, got 0"):
        run_backtest(*columns, PARAMS, COSTS, days_per_year=0)
