"""Calibration, thresholds and the backtest of a period."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tapelab.common.serving.manifest import Calibration
from tapelab.trainer import linear
from tapelab.trainer.etl import compute
from tapelab.trainer.evaluation import _profit, block_returns
from tapelab.trainer.strategy import (
    Strategy,
    backtest_arguments,
    backtest_period,
    backtest_rows,
    calibrate,
    choose_threshold,
    relaxed_threshold,
    round_trip_costs,
)
from tests.services.trainer.data import config, instruments, loaded, samples, symbols

FIRST = int(min(d.bars["ts_close_ns"][0] for d in symbols()))
LAST = int(max(d.bars["ts_close_ns"][-1] for d in symbols())) + 1


class Oracle:
    """Knows the return of every row, by its features."""

    def __init__(self) -> None:
        pooled = samples()
        self._known = {row.tobytes(): ret for row, ret in zip(pooled.x, pooled.ret, strict=True)}

    def scores(self, x: np.ndarray) -> np.ndarray:
        """0.5 plus the return itself, so that the right slope is 1."""
        return np.array([0.5 + self._known.get(row.tobytes(), 0.0) for row in x])


class Coin:
    """Knows nothing."""

    def scores(self, x: np.ndarray) -> np.ndarray:
        """The middle, always."""
        return np.full(len(x), 0.5)


UNIT = Calibration(slope=1.0)


def slope(scores: np.ndarray, ret: np.ndarray, **changes: Any) -> float:
    return calibrate(scores, ret, np.full(len(ret), 0.25), config(**changes)).slope


def test_a_calendar_of_every_weekday_annualises_by_365_days() -> None:
    known = instruments()
    sessions = {name: replace(session, weekdays=tuple(range(7))) for name, session in known.sessions.items()}
    every = compute(loaded()[0], config(), replace(known, sessions=sessions))
    for data, year in ((every, 365), (symbols()[0], 252)):
        strategy = Strategy(Coin(), UNIT)
        assert backtest_arguments(data, slice(0, 9), strategy, config())[1]["days_per_year"] == year
        (period,) = backtest_period([data], strategy, config(), FIRST, LAST)
        assert period.days_per_year == year


def test_a_report_annualises_the_days_of_all_symbols_by_the_fullest_year() -> None:
    weekdays = backtest_period(symbols(), Strategy(Oracle(), UNIT), config(), FIRST, LAST)
    mixed = [weekdays[0]._replace(days_per_year=365), *weekdays[1:]]
    blocks = block_returns(weekdays, 60 * 10**9)[1]
    before, after = (_profit(periods, blocks, config()) for periods in (weekdays, mixed))
    for name in ("sharpe_daily", "sortino_daily"):
        assert after[name] == pytest.approx(before[name] * (365 / 252) ** 0.5, nan_ok=True)
    assert np.isfinite(before["sharpe_daily"])


def test_the_slope_is_least_squares_through_the_origin_and_never_negative() -> None:
    scores = np.array([0.6, 0.4, 0.7])
    assert slope(scores, 3.0 * (scores - 0.5)) == pytest.approx(3.0)
    assert slope(scores, 0.5 - scores) == 0.0
    assert slope(np.full(3, 0.5), np.ones(3)) == 0.0
    assert slope(Oracle().scores(samples().x), samples().ret) == pytest.approx(1.0)


@pytest.mark.parametrize(("target", "worth"), [("log_return", 1.0), ("ticks", 0.25), ("net", 1.0)])
def test_a_returns_score_expects_itself_in_the_unit_of_its_target(target: str, worth: float) -> None:
    scores = np.array([0.02, -0.01, 0.03])
    label = {"kind": "regression", "target": target}
    assert slope(scores, worth * scores, label=label) == pytest.approx(1.0)
    found = calibrate(scores, 0.5 * worth * scores, np.full(3, 0.25), config(label=label))
    assert found.expected_return(scores, np.full(3, 0.25)) == pytest.approx(0.5 * worth * scores)
    assert found.expected_return(0.02, 0.25) == found.expected_return(scores, np.full(3, 0.25))[0]


def test_knowing_the_future_earns_in_every_symbol_and_knowing_nothing_never_trades() -> None:
    known = backtest_period(symbols(), Strategy(Oracle(), UNIT), config(), FIRST, LAST)
    assert [period.symbol for period in known] == ["BOVA11", "WDOZ26", "WINZ26"]
    assert all(period.result.kpis.net_pnl > 0 for period in known)
    assert all(period.result.kpis.hit_rate > 0.8 for period in known)
    blind = backtest_period(symbols(), Strategy(Coin(), UNIT), config(), FIRST, LAST)
    assert all(period.result.kpis.n_trades == 0 for period in blind)


def test_a_period_starts_and_ends_flat_and_an_empty_one_is_empty() -> None:
    middle = (FIRST + LAST) // 2
    for period in backtest_period(symbols(), Strategy(Oracle(), UNIT), config(), FIRST, middle):
        assert (period.ts_ns < middle).all()
        assert not len(period.ts_ns) or period.result.side[-1] == 0
    empty = backtest_period(symbols(), Strategy(Oracle(), UNIT), config(), LAST, LAST + 1)
    assert [len(period.ts_ns) for period in empty] == [0, 0, 0]


def test_the_chosen_threshold_is_the_best_of_those_tried_on_the_tune_period() -> None:
    pooled = samples()
    model = linear.fit(pooled.x[pooled.moved], pooled.up[pooled.moved], c=1.0)
    strategy = Strategy(model, calibrate(model.scores(pooled.x), pooled.ret, pooled.tick, config()))
    chosen = choose_threshold(symbols(), strategy, config(), FIRST, LAST)

    def net(threshold: float) -> float:
        periods = backtest_period(symbols(), strategy._replace(threshold=threshold), config(), FIRST, LAST)
        return sum(period.result.kpis.net_return for period in periods)

    assert chosen >= 0.0
    assert net(chosen) >= net(0.0)
    assert choose_threshold(symbols(), Strategy(Coin(), UNIT), config(), FIRST, LAST) == 0.0


def test_a_relaxed_threshold_lets_the_asked_share_of_rows_show_an_edge() -> None:
    pooled = samples()
    model = linear.fit(pooled.x[pooled.moved], pooled.up[pooled.moved], c=1.0)
    threshold = relaxed_threshold(symbols(), Strategy(model, Calibration(slope=1e-6)), 0.05, FIRST, LAST)
    assert threshold < 0.0
    shown = usable = 0
    for data in symbols():
        rows = slice(0, len(data.bars))
        expected = np.abs(1e-6 * (model.scores(data.features.values) - 0.5))
        shown += int((expected > round_trip_costs(data, rows) + threshold)[data.usable].sum())
        usable += int(data.usable.sum())
    assert shown / usable == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("orders", ["market", "limit"])
def test_later_bars_change_no_cost_of_an_earlier_trade(orders: str) -> None:
    costs = {"fee_bps": 0.1, "slippage_volatility": 0.7, "impact": 1.5}
    asked = config(costs=costs, backtest={"orders": orders, "spread": "effective", "lots": 3})
    data = compute(loaded()[0], asked, instruments())
    rows = slice(0, len(data.bars))
    strategy = Strategy(Oracle(), UNIT)
    whole, by_print = backtest_rows(data, rows, strategy, asked)
    assert whole.kpis.slippage > 0
    assert data.spread is not None
    # The bar before the cut is one that trades.
    for bar in np.flatnonzero(np.diff(whole.side))[[3, 20, -5]] + 1:
        cut, spread, bars = int(bar) + 1, data.spread.copy(), data.bars.copy()
        bars["realised_var"][cut:] += 1e-3
        bars["volume"][cut:] *= 9.0
        spread[cut:] *= 5.0
        after, again = backtest_rows(data._replace(bars=bars, spread=spread), rows, strategy, asked)
        assert np.array_equal(after.side, whole.side)
        assert after.kpis.slippage != whole.kpis.slippage
        if by_print is not None and again is not None:
            ours, theirs = (done.fills[done.fills["bar"] < cut] for done in (by_print, again))
            assert ours.tobytes() == theirs.tobytes()
            continue
        assert np.array_equal(after.cost[:cut], whole.cost[:cut])
        for name in ("fee", "spread", "slippage", "cost", "entry_got", "exit_got"):
            before = whole.trades["exit_bar"] < cut
            assert np.array_equal(after.trades[name][before], whole.trades[name][before])


def test_costs_scale_with_the_volatility_and_the_lots_of_the_bar_that_decides() -> None:
    asked = config(costs={"slippage_volatility": 0.7, "impact": 1.5})
    data = compute(loaded()[0], asked, instruments())
    rows = slice(10, 60)
    _, named = backtest_arguments(data, rows, Strategy(Coin(), UNIT), asked)
    assert np.array_equal(named["volatility"], np.sqrt(data.bars["realised_var"][10:60]))
    assert np.array_equal(named["volume"], data.bars["volume"][10:60])
    assert named["frictions"].impact == 1.5
