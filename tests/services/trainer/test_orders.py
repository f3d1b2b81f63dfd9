"""An experiment judged print by print: the same figures for market orders, and passive orders that really wait."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapelab.common.serving.manifest import Calibration
from tapelab.trainer.etl import SymbolData, compute
from tapelab.trainer.orders import lots_ahead
from tapelab.trainer.strategy import Strategy, backtest_period, backtest_rows, choose_threshold
from tests.services.trainer.data import config, instruments, loaded, symbols
from tests.services.trainer.test_strategy import FIRST, LAST, Oracle

KNOWING = Strategy(Oracle(), Calibration(slope=1.0))


def judged(**backtest: Any) -> tuple[SymbolData, ...]:
    return tuple(compute(item, config(backtest=backtest), instruments()) for item in loaded())


def test_market_orders_on_prints_are_the_backtest_bar_by_bar() -> None:
    plain = backtest_period(symbols(), KNOWING, config(), FIRST, LAST)
    walked = backtest_period(judged(fills="ticks"), KNOWING, config(), FIRST, LAST)
    for bars, ticks in zip(plain, walked, strict=True):
        assert ticks.result.trades.tobytes() == bars.result.trades.tobytes()
        assert ticks.result.side.tobytes() == bars.result.side.tobytes()
        assert ticks.result.kpis.net_pnl == pytest.approx(bars.result.kpis.net_pnl)
        assert len(bars.result.trades) > 20


def test_every_bar_knows_its_last_print() -> None:
    for data, item in zip(judged(fills="ticks"), loaded(), strict=True):
        assert data.orders is not None
        prints = data.orders.prints[data.orders.last_print]
        assert prints["price"].tolist() == data.bars["close"].tolist()
        assert len(data.orders.prints) <= item.ticks.n
        assert (prints["ts_ns"] <= data.bars["ts_close_ns"]).all()
        begins = np.searchsorted(data.orders.prints["ts_ns"], data.bars["ts_close_ns"], side="right")
        assert (data.orders.last_print < begins).all()


def test_passive_orders_wait_and_pay_less() -> None:
    for data, market in zip(judged(orders="limit", queue="2x", patience_s=5), symbols(), strict=True):
        rows = slice(0, len(data.bars))
        _, done = backtest_rows(data, rows, KNOWING, config())
        taken, none = backtest_rows(market, rows, KNOWING, config())
        assert none is None
        assert done is not None
        fills, kpis = done.fills, done.result.kpis
        passive = fills[fills["maker"] == 1]
        assert 0.1 < done.orders.fill_ratio < 1.0
        assert done.orders.maker_share > 0.5
        assert done.orders.wait_s > 0.0
        assert kpis.spread < 0.0 < taken.kpis.spread
        assert kpis.costs < taken.kpis.costs
        assert fills["position"][-1] == 0.0
        # Whole lots stay whole, on the grid of prices.
        assert (fills["lots"] == np.round(fills["lots"])).all()
        ticks = passive["got"] / data.costs.tick_size
        np.testing.assert_allclose(ticks, np.round(ticks), atol=1e-6)
        assert (passive["filled_ts_ns"] > passive["arrived_ts_ns"]).all()


def test_the_threshold_is_chosen_by_the_orders_it_will_make() -> None:
    data = judged(orders="limit", queue="inf")
    threshold = choose_threshold(data, KNOWING, config(), FIRST, LAST)
    best = sum(
        p.result.kpis.net_return
        for p in backtest_period(data, KNOWING._replace(threshold=threshold), config(), FIRST, LAST)
    )
    none = sum(p.result.kpis.net_return for p in backtest_period(data, KNOWING, config(), FIRST, LAST))
    assert best >= none


def test_lots_ahead_are_a_number_or_multiples_of_the_bars_mean_print() -> None:
    volume, n = np.array([0.0, 30.0, 0.0, 8.0]), np.array([0, 4, 0, 2])
    assert lots_ahead("20", volume, n).tolist() == [20.0] * 4
    assert lots_ahead("inf", volume, n).tolist() == [np.inf] * 4
    assert lots_ahead("2x", volume, n).tolist() == [0.0, 15.0, 15.0, 8.0]
    assert lots_ahead("1.1x", volume, n).tolist() == [0.0, 9.0, 9.0, 5.0]
    assert lots_ahead("2x", volume / 16, n).tolist() == [0.0, 30 / 32, 30 / 32, 0.5]
