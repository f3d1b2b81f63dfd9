"""The future never changes the past, and no order is filled at a print that was out when it was decided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.engine import run_backtest, sweep_thresholds
from tapelab.quant.backtest.fills import fills_after_latency, fills_not_after
from tapelab.quant.backtest.latency import Latency
from tapelab.quant.backtest.results import BacktestResult

SECOND = 1_000_000_000
COSTS = CostModel(0.25, 0.3, 1.0, 0.25, 5.0, 0.2)


class Tape:
    """Random prints and bars of three sessions; every tenth print closes a bar."""

    def __init__(self, seed: int, prints: int = 900) -> None:
        rng = np.random.default_rng(seed)
        session = np.arange(prints) // 300
        # Halts of ten minutes and many equal times.
        waits = np.where(rng.random(prints) < 0.01, 600, rng.integers(0, 3, prints)) * SECOND
        self.tick_ts = np.cumsum(waits) + session * 10_000 * SECOND
        self.tick_price = 1_000.0 + 5.0 * np.cumsum(rng.integers(-1, 2, prints))
        rows = np.arange(9, prints, 10)
        self.ts, self.price, self.day = self.tick_ts[rows], self.tick_price[rows], 20260105 + session[rows]
        last = np.array([self.tick_ts[session == s].max() for s in range(3)])
        self.close = last[session[rows]] + SECOND
        self.end = np.r_[np.diff(self.day) != 0, True]
        n = len(rows)
        self.usable = rng.random(n) < 0.95
        self.expected = np.where(rng.random(n) < 0.05, np.nan, rng.normal(0.0, 0.01, n))
        self.spread = np.where(rng.random(n) < 0.1, np.nan, 5.0 * rng.integers(1, 4, n))
        self.volatility = np.where(rng.random(n) < 0.1, np.nan, rng.random(n) * 1e-3)
        self.volume = rng.integers(0, 50, n).astype(float)

    def fills(self, tick_price: Any = None, latency: Latency = Latency.fixed(SECOND)) -> Any:
        prices = self.tick_price if tick_price is None else tick_price
        return fills_after_latency(self.ts, self.tick_ts, prices, latency.draw(len(self.ts)), self.close)

    def columns(self, upto: int) -> tuple[Any, ...]:
        names = self.ts, self.price, self.fills(), self.day, self.close, self.end, self.usable, self.expected
        return tuple(column[:upto] for column in names)

    def extras(self, upto: int) -> dict[str, Any]:
        return {name: getattr(self, name)[:upto] for name in ("spread", "volatility", "volume")}


PARAMS = DecisionParams(0.002, 2 * SECOND, 60 * SECOND, 30 * SECOND)
FRICTIONS = Frictions(0.1, 0.5, True, 3.0, 2.0)


def run(tape: Tape, upto: int, threshold: float = PARAMS.threshold) -> BacktestResult:
    params = PARAMS._replace(threshold=threshold)
    return run_backtest(*tape.columns(upto), params, COSTS, 4.0, frictions=FRICTIONS, **tape.extras(upto))


@pytest.mark.parametrize("seed", range(3))
def test_bars_that_follow_change_nothing_before_them(seed: int) -> None:
    tape = Tape(seed)
    whole = run(tape, 90)
    assert whole.kpis.n_trades > 10
    for upto in (1, 2, 17, 30, 45, 89):
        part = run(tape, upto)
        # The last bar of a run counts as a session's end; before it all is as it was.
        for name in ("side", "reason", "gross", "cost", "net_return", "equity", "drawdown"):
            assert getattr(part, name)[:-1].tobytes() == getattr(whole, name)[: upto - 1].tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_prints_that_follow_a_fill_change_nothing(seed: int) -> None:
    tape = Tape(seed)
    spoilt = np.where(tape.tick_ts > tape.ts[40] + 20 * SECOND, 7.0, tape.tick_price)
    before = np.searchsorted(tape.tick_ts, tape.ts[:20] + SECOND, side="right") < np.argmax(spoilt == 7.0)
    assert before.any()
    assert (tape.fills(spoilt)[:20][before] == tape.fills()[:20][before]).all()


def test_no_fill_is_at_a_print_that_was_out_and_a_planted_one_is_found() -> None:
    tape = Tape(1)
    measured = Latency.measured([0, SECOND // 2, 3 * SECOND], seed=2)
    for latency in (Latency.fixed(0), Latency.fixed(SECOND), measured):
        honest = fills_not_after(lambda p, used=latency: tape.fills(p, used), tape.ts, tape.tick_ts, tape.close)
        assert not honest.any()

    def same_bar(tick_price: Any) -> Any:
        return tick_price[np.searchsorted(tape.tick_ts, tape.ts, side="right") - 1]

    found = fills_not_after(same_bar, tape.ts, tape.tick_ts, tape.close)
    # All but the last bars of the sessions, after which nothing prints.
    assert found.sum() == len(tape.ts) - 3

    def one_of_them(tick_price: Any) -> Any:
        filled = tape.fills(tick_price)
        filled[37] = same_bar(tick_price)[37]
        return filled

    assert np.flatnonzero(fills_not_after(one_of_them, tape.ts, tape.tick_ts, tape.close)).tolist() == [37]


@pytest.mark.parametrize("seed", range(5))
def test_a_sweep_equals_single_runs_to_the_bit(seed: int) -> None:
    tape = Tape(seed)
    thresholds = np.concatenate([np.linspace(-0.02, 0.02, 41), [np.nan, np.inf, -np.inf]])
    swept = sweep_thresholds(
        thresholds, *tape.columns(90), PARAMS, COSTS, 4.0, frictions=FRICTIONS, with_equity=True, **tape.extras(90)
    )
    for k, threshold in enumerate(thresholds):
        single = run(tape, 90, float(threshold))
        assert np.array(swept.kpis(k)).tobytes() == np.array(single.kpis).tobytes()
        assert swept.equity[k].tobytes() == single.equity.tobytes()
        assert swept.net_pnl[k] == single.equity[-1]
        # Sums in the stated order: bar by bar, from the first to the last.
        assert single.kpis.net_pnl == sum(single.net.tolist(), start=0.0)
        assert single.kpis.gross_pnl == sum(single.gross.tolist(), start=0.0)
        assert single.kpis.max_drawdown == single.drawdown.max()
        if single.kpis.n_trades:
            assert single.kpis.hit_rate == float(np.mean(single.trades["net"] > 0.0))
