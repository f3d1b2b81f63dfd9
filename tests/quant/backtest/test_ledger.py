"""The compiled backtest against the plain one, to the bit, with every friction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.engine import run_backtest, sweep_thresholds
from tapelab.quant.backtest.outlook import BLOCK
from tests.quant.backtest.ledger import Ledger

SECOND = 1_000_000_000
COLUMNS = ("ts", "price", "fill", "day", "close", "session_end", "usable", "expected_return")
EXTRAS = ("spread", "volatility", "volume")


def laid_out(rng: np.random.Generator, n: int, quiet: float, extras: tuple[str, ...]) -> list[dict[str, Any]]:
    """Bars with equal times, pauses, gaps, days of one bar, missing and senseless values."""
    ts = np.cumsum(np.where(rng.random(n) < 0.02, 500, rng.integers(0, 4, n))) * SECOND
    price = 1_000.0 + 5.0 * np.cumsum(rng.integers(-1, 2, n))
    day = 20260105 + np.cumsum(rng.random(n) < rng.choice([0.0, 0.01, 0.3]))
    end = [i == n - 1 or bool(day[i] != day[i + 1]) for i in range(n)]
    expected = np.where(rng.random(n) < quiet, 0.0, rng.normal(0.0, 0.01, n))
    expected[rng.random(n) < 0.05] = np.nan
    bars: list[dict[str, Any]] = []
    for i in range(n):
        bar = {
            "ts": int(ts[i]),
            "price": float(price[i]),
            "fill": float(price[i] + 5.0 * rng.integers(-2, 3)),
            "day": int(day[i]),
            "close": int(ts[i] + rng.integers(0, 100) * SECOND),
            "session_end": end[i],
            "usable": bool(rng.random() < 0.95),
            "expected_return": float(expected[i]),
        }
        senseless = [float("nan"), -1.0, 0.0, float(rng.random())]
        bars.append(bar | {name: float(rng.choice(senseless)) * scale for name, scale in _SCALES if name in extras})
    return bars


_SCALES = (("spread", 15.0), ("volatility", 1e-3), ("volume", 50.0))


def compare(
    bars: list[dict[str, Any]], params: DecisionParams, costs: CostModel, lots: float, frictions: Frictions
) -> int:
    columns = [[bar[name] for bar in bars] for name in COLUMNS]
    named: dict[str, Any] = {name: [bar[name] for bar in bars] for name in EXTRAS if bars and name in bars[0]}
    fast = run_backtest(*columns, params, costs, lots, frictions=frictions, **named)
    plain = Ledger(bars, params, costs, lots, frictions)
    for name in ("side", "reason", "gross", "cost", "net", "net_return", "equity", "drawdown"):
        assert np.array_equal(getattr(fast, name), np.array(getattr(plain, name)), equal_nan=True), name
    # The same profit by another way: what was paid and received, and what is held.
    assert fast.equity == pytest.approx(plain.wealth, rel=1e-9, abs=1e-6)
    assert fast.days.tolist() == list(plain.day_net)
    assert fast.day_net.tolist() == list(plain.day_net.values())
    assert len(fast.trades) == len(plain.trades)
    for name in fast.trades.dtype.names or ():
        assert np.array_equal(fast.trades[name], [t[name] for t in plain.trades], equal_nan="bar" not in name), name
    for name, value in plain.kpis().items():
        assert getattr(fast.kpis, name) == value or value != value, name
        assert (getattr(fast.kpis, name) != getattr(fast.kpis, name)) == (value != value), name
    grid = [params.threshold, 0.01]
    swept = sweep_thresholds(grid, *columns, params, costs, lots, frictions=frictions, with_equity=True, **named)
    assert swept.equity[0].tolist() == plain.equity
    assert np.array(swept.kpis(0)).tobytes() == np.array(fast.kpis).tobytes()
    return len(fast.trades)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    quiet=st.sampled_from([0.0, 0.5, 0.9]),
    extras=st.sampled_from([(), ("spread",), EXTRAS]),
    fees=st.tuples(st.sampled_from([0.0, 0.25]), st.sampled_from([0.0, 1.5])),
    ticks=st.tuples(st.sampled_from([0.0, 1.0, 3.0]), st.sampled_from([0.0, 0.25])),
    scaled=st.tuples(st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.8]), st.booleans()),
    limits=st.tuples(st.sampled_from([0.0, 1.0, 2.5, float("inf")]), st.sampled_from([0.0, 1.0, float("inf")])),
    rule=st.tuples(st.sampled_from([-1.0, 0.0, 0.002]), st.sampled_from([0, 5]), st.sampled_from([3, 60])),
    flatten_s=st.sampled_from([0, 20]),
    lots=st.sampled_from([1.0, 0.3, 4.0]),
)
def test_every_number_equals_the_plain_one_to_the_bit(
    seed: int,
    n: int,
    quiet: float,
    extras: tuple[str, ...],
    fees: tuple[float, float],
    ticks: tuple[float, float],
    scaled: tuple[float, float, bool],
    limits: tuple[float, float],
    rule: tuple[float, int, int],
    flatten_s: int,
    lots: float,
) -> None:
    if "volatility" not in extras:
        scaled = (0.0, 0.0, scaled[2])
    params = DecisionParams(rule[0], rule[1] * SECOND, rule[2] * SECOND, flatten_s * SECOND)
    bars = laid_out(np.random.default_rng(seed), n, quiet, extras)
    compare(bars, params, CostModel(*fees, *ticks, 5.0, 0.2), lots, Frictions(*scaled, *limits))


@pytest.mark.parametrize("n", [BLOCK - 1, BLOCK, BLOCK + 1])
@pytest.mark.parametrize("quiet", [0.0, 0.97])
def test_it_does_not_matter_where_a_block_of_bars_ends(n: int, quiet: float) -> None:
    bars = laid_out(np.random.default_rng(n), n, quiet, EXTRAS)
    for bar in bars:
        # One long day without an end in sight, so that positions live across blocks.
        bar |= {"day": 20260105, "session_end": False, "close": 10**15, "usable": True}
    params = DecisionParams(0.0, 0, 10**6 * SECOND, 0)
    trades = compare(bars, params, CostModel(0.25, 0.3, 1.0, 0.25, 5.0, 0.2), 2.0, Frictions(0.1, 0.5, True))
    assert trades >= (100 if quiet == 0.0 else 1)
