"""Calibration, thresholds and the backtest of a period."""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.trainer import linear
from tapelab.trainer.strategy import (
    Strategy,
    backtest_period,
    calibration_slope,
    choose_threshold,
    relaxed_threshold,
    round_trip_costs,
)
from tests.services.trainer.data import config, samples, symbols

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


def test_the_slope_is_least_squares_through_the_origin_and_never_negative() -> None:
    scores = np.array([0.6, 0.4, 0.7])
    assert calibration_slope(scores, 3.0 * (scores - 0.5)) == pytest.approx(3.0)
    assert calibration_slope(scores, 0.5 - scores) == 0.0
    assert calibration_slope(np.full(3, 0.5), np.ones(3)) == 0.0
    assert calibration_slope(Oracle().scores(samples().x), samples().ret) == pytest.approx(1.0)


def test_knowing_the_future_earns_in_every_symbol_and_knowing_nothing_never_trades() -> None:
    known = backtest_period(symbols(), Strategy(Oracle(), 1.0, 0.0), config(), FIRST, LAST)
    assert [period.symbol for period in known] == ["BOVA11", "WDOZ26", "WINZ26"]
    assert all(period.result.kpis.net_pnl > 0 for period in known)
    assert all(period.result.kpis.hit_rate > 0.8 for period in known)
    blind = backtest_period(symbols(), Strategy(Coin(), 1.0, 0.0), config(), FIRST, LAST)
    assert all(period.result.kpis.n_trades == 0 for period in blind)


def test_a_period_starts_and_ends_flat_and_an_empty_one_is_empty() -> None:
    middle = (FIRST + LAST) // 2
    for period in backtest_period(symbols(), Strategy(Oracle(), 1.0, 0.0), config(), FIRST, middle):
        assert (period.ts_ns < middle).all()
        assert not len(period.ts_ns) or period.result.side[-1] == 0
    empty = backtest_period(symbols(), Strategy(Oracle(), 1.0, 0.0), config(), LAST, LAST + 1)
    assert [len(period.ts_ns) for period in empty] == [0, 0, 0]


def test_the_chosen_threshold_is_the_best_of_those_tried_on_the_tune_period() -> None:
    pooled = samples()
    model = linear.fit(pooled.x[pooled.moved], pooled.up[pooled.moved], c=1.0)
    slope = calibration_slope(model.scores(pooled.x), pooled.ret)
    chosen = choose_threshold(symbols(), model, slope, config(), FIRST, LAST)

    def net(threshold: float) -> float:
        periods = backtest_period(symbols(), Strategy(model, slope, threshold), config(), FIRST, LAST)
        return sum(period.result.kpis.net_return for period in periods)

    assert chosen >= 0.0
    assert net(chosen) >= net(0.0)
    assert choose_threshold(symbols(), Coin(), 1.0, config(), FIRST, LAST) == 0.0


def test_a_relaxed_threshold_lets_the_asked_share_of_rows_show_an_edge() -> None:
    pooled = samples()
    model = linear.fit(pooled.x[pooled.moved], pooled.up[pooled.moved], c=1.0)
    threshold = relaxed_threshold(symbols(), model, 1e-6, 0.05, FIRST, LAST)
    assert threshold < 0.0
    shown = usable = 0
    for data in symbols():
        rows = slice(0, len(data.bars))
        expected = np.abs(1e-6 * (model.scores(data.features.values) - 0.5))
        shown += int((expected > round_trip_costs(data, rows) + threshold)[data.usable].sum())
        usable += int(data.usable.sum())
    assert shown / usable == pytest.approx(0.05, abs=0.005)
