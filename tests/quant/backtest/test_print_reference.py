"""The print kernel against the plain reference, to the bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.orders import FOREVER_NS, OrderPolicy
from tapelab.quant.backtest.print_engine import run_on_prints
from tapelab.quant.backtest.prints import prints_of
from tests.quant.backtest.print_reference import backtest

COSTS = CostModel(0.03, 1.5, 1.0, 0.5, 0.5, 0.2)

CHOICES: dict[str, list[Any]] = {
    "wait": [0, 1, 1, 2, 7, 60, -3],
    "move": [-2, -1, 0, 0, 1, 2],
    "volume": [0.0, 1.0, 2.0, 5.0, 0.3],
    "aggressor": [-1, 0, 1],
    "bar": [None, None, "bar"],
    "new_session": [False] * 19 + [True],
    "expected_return": [0.0, 0.02, -0.02, 0.05, -0.05, math.nan],
    "usable": [True] * 9 + [False],
    "latency": [0, 1, 3, 20],
    "ahead": [0.0, 1.0, 4.0, math.inf],
    "spread": [0.5, 1.0, math.nan, -1.0],
    "volatility": [0.0, 1e-3, math.nan],
}


def drawn(seed: int, n: int) -> list[dict[str, Any]]:
    """A random tape: hypothesis' own lists are mostly too plain to trade at all."""
    rng = np.random.default_rng(seed)
    return [{name: values[rng.integers(len(values))] for name, values in CHOICES.items()} for _ in range(n)]


def laid_out(raw: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[Any]]:
    """Prints as they were seen, bars, and the tape's own columns."""
    prints: list[dict[str, Any]] = []
    bars: list[dict[str, Any]] = []
    ts, price, session = 1_000, 100.0, 0
    starts = [0]
    for i, item in enumerate(raw):
        if item["new_session"] and i:
            session += 1
            starts.append(i)
            ts = 1_000 + 10_000 * session
        ts = max(ts + item["wait"], 1_000 + 10_000 * session)
        price += 0.5 * item["move"]
        prints.append({"ts": ts, "price": price, "volume": item["volume"], "session": session})
    seen = np.maximum.accumulate([p["ts"] for p in prints])
    sides = prints_of(
        [p["ts"] for p in prints], [p["price"] for p in prints], [1.0] * len(raw), [r["aggressor"] for r in raw]
    )["side"]
    tape = [[p[name] for p in prints] for name in ("ts", "price", "volume")] + [[r["aggressor"] for r in raw]]
    for i, item in enumerate(raw):
        prints[i] |= {"ts": int(seen[i]), "side": int(sides[i])}
        ends = i + 1 == len(raw) or prints[i + 1]["session"] != prints[i]["session"]
        if item["bar"] or ends:
            bars.append(
                item
                | {
                    "ts": prints[i]["ts"],
                    "price": prints[i]["price"],
                    "last": i,
                    "session_end": ends,
                    "day": 20260105 + prints[i]["session"],
                    "close": 1_000 + 10_000 * prints[i]["session"] + 9_000,
                }
            )
    return prints, bars, tape


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 120),
    threshold=st.sampled_from([-1.0, 0.0, 0.02]),
    cooldown=st.sampled_from([0, 5]),
    max_hold=st.sampled_from([5, 100]),
    flatten=st.sampled_from([0, 0, 8_900]),
    lots=st.sampled_from([1, 3, 2.5]),
    limits=st.sampled_from([(math.inf, math.inf), (2.0, 0.0)]),
    scaled=st.booleans(),
    policy=st.sampled_from(
        [
            OrderPolicy(),
            OrderPolicy(True),
            OrderPolicy(True, 4, False),
            OrderPolicy(True, 4, True),
            OrderPolicy(True, FOREVER_NS, True),
        ]
    ),
)
def test_the_kernel_equals_the_plain_reference(
    seed: int,
    n: int,
    threshold: float,
    cooldown: int,
    max_hold: int,
    flatten: int,
    lots: float,
    limits: tuple[float, float],
    scaled: bool,
    policy: OrderPolicy,
) -> None:
    prints, bars, tape = laid_out(drawn(seed, n))
    for bar in bars:
        bar["volume"] = 4.0
    params = DecisionParams(threshold, cooldown, max_hold, flatten)
    frictions = Frictions(0.1 if scaled else 0.0, 0.5 if scaled else 0.0, False, *limits)
    plain = backtest(prints, bars, params, COSTS, frictions, policy, lots)
    column = {name: [bar[name] for bar in bars] for name in bars[0]}
    names = ("last", "ts", "price", "day", "close", "session_end", "usable", "expected_return")
    fast = run_on_prints(
        prints_of(*tape),
        *(column[name] for name in names),
        params,
        COSTS,
        lots,
        policy=policy,
        latency_ns=column["latency"],
        ahead=column["ahead"],
        frictions=frictions,
        spread=column["spread"],
        volatility=column["volatility"],
        volume=column["volume"],
    )
    assert fast.result.side.tolist() == plain["sides"]
    assert fast.result.reason.tolist() == plain["reasons"]
    assert len(fast.fills) == len(plain["fills"])
    for got, told in zip(fast.fills, plain["fills"], strict=True):
        for name in ("order", "bar", "print", "side", "maker", "lots", "price", "got"):
            assert got[name] == told[name], name
        assert got["arrived_ts_ns"] == told["arrived"]
        assert got["position"] == told["after"]
        assert got["ahead"] == told["ahead"] or not told["maker"]
        money = got["lots"] * COSTS.multiplier
        assert (got["fee"], got["spread"], got["slippage"]) == tuple(part * money for part in told["costs"])
    assert fast.result.equity.tolist() == plain["equity"]
    _check_sums(fast)


def _check_sums(fast: Any) -> None:
    """What the tables say together: trades add up to fills and to the equity, and the run ends flat."""
    trades, fills, kpis = fast.result.trades, fast.fills, fast.result.kpis
    assert not len(fills) or fills["position"][-1] == 0.0
    assert kpis.n_trades == len(trades)
    near = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(trades["net"].sum(), kpis.net_pnl, **near)
    for name, told in (("fee", kpis.fees), ("spread", kpis.spread), ("slippage", kpis.slippage)):
        np.testing.assert_allclose(trades[name].sum(), told, **near)
        np.testing.assert_allclose(fills[name].sum(), told, **near)
    # What was paid and received for the lots, less fees, is the profit.
    cash = -(fills["side"] * fills["got"] * fills["lots"]).sum() * COSTS.multiplier - fills["fee"].sum()
    np.testing.assert_allclose(cash, kpis.net_pnl, rtol=1e-9, atol=1e-8)
    moved = trades["side"] * (trades["exit_price"] - trades["entry_price"]) * trades["lots"] * COSTS.multiplier
    np.testing.assert_allclose(moved, trades["gross"], rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(trades["lots"].sum() * 2, fills["lots"].sum(), **near)
