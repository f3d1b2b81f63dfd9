"""Lots, limits of positions and the spread that fills cross, as an experiment sets them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapelab.common.serving.manifest import Calibration
from tapelab.quant.backtest.costs import round_trip_cost_fractions
from tapelab.trainer.etl import compute
from tapelab.trainer.strategy import Strategy, SymbolPeriod, backtest_period, choose_threshold
from tests.services.trainer.data import config, instruments, loaded
from tests.services.trainer.test_strategy import FIRST, LAST, Oracle

KNOWING = Strategy(Oracle(), Calibration(slope=1.0))


def judged(**backtest: Any) -> list[SymbolPeriod]:
    experiment = config(backtest=backtest)
    data = [compute(item, experiment, instruments()) for item in loaded()]
    return backtest_period(data, KNOWING, experiment, FIRST, LAST)


def test_limits_and_lots_of_the_experiment_hold_and_change_no_decision() -> None:
    plain, limited = judged(), judged(lots=3.0, max_long=2.0, max_short=0.0)
    for one, other in zip(plain, limited, strict=True):
        assert other.result.side.tolist() == one.result.side.tolist()
        assert set(other.result.trades["lots"]) == {2.0}
        assert set(other.result.trades["side"]) == {1}
        longs = one.result.trades[one.result.trades["side"] == 1]
        assert other.result.trades["gross"] == pytest.approx(2.0 * longs["gross"])


@pytest.mark.parametrize("spread", ["roll", "corwin_schultz", "effective"])
def test_an_estimated_spread_goes_to_fills_and_not_to_decisions(spread: str) -> None:
    experiment = config(backtest={"spread": spread})
    wider = 0
    for item, one, other in zip(loaded(), judged(), judged(spread=spread), strict=True):
        fixed, data = (compute(item, chosen, instruments()) for chosen in (config(), experiment))
        assert fixed.spread is None
        assert data.spread is not None
        assert data.spread.shape == data.bars.shape
        tick = data.costs.spread_ticks * data.costs.tick_size
        assert (data.spread >= tick).all()
        # A simulated market is a tick wide most of the time, or two.
        assert np.median(data.spread) <= (3.0 if spread != "corwin_schultz" else 20.0) * tick
        wider += int((data.spread > tick).sum())
        assert other.result.side.tolist() == one.result.side.tolist()
        assert other.result.kpis.gross_pnl == one.result.kpis.gross_pnl
        assert other.result.kpis.fees == one.result.kpis.fees
        assert other.result.kpis.spread >= one.result.kpis.spread
        expected = round_trip_cost_fractions(data.bars["close"], data.costs)
        assert expected.tolist() == round_trip_cost_fractions(fixed.bars["close"], fixed.costs).tolist()
    assert wider > 0


def test_the_threshold_is_chosen_under_the_same_limits_and_spread() -> None:
    experiment = config(backtest={"lots": 2.0, "max_long": 0.0, "max_short": 0.0})
    data = [compute(item, experiment, instruments()) for item in loaded()]
    # Nothing may be held, so nothing is earned at any threshold.
    assert choose_threshold(data, KNOWING, experiment, FIRST, LAST) == 0.0
