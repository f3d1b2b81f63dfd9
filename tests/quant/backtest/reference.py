"""The backtest in plain Python, slow and readable: one position, one cash account."""

from __future__ import annotations

from typing import Any

from tapelab.quant.backtest.costs import CostModel
from tapelab.quant.backtest.decision import DecisionParams


def backtest(bars: list[dict[str, Any]], params: DecisionParams, costs: CostModel, lots: float) -> dict[str, Any]:
    """Sides per bar, trades as (entry, exit, side, gross, cost), and equity after every bar, in currency."""

    def one_side(price: float) -> float:
        fee = costs.fee_per_contract / costs.multiplier + price * costs.fee_bps / 1e4
        return fee + (costs.spread_ticks / 2 + costs.slippage_ticks) * costs.tick_size

    money = costs.multiplier * lots
    side, since, changed, cash = 0, None, None, 0.0
    sides, trades, equity = [], [], []
    entry: tuple[int, float] | None = None
    for i, bar in enumerate(bars):
        wanted = side
        expected, edge = bar["expected_return"], 2 * one_side(bar["price"]) / bar["price"] + params.threshold
        last = i == len(bars) - 1
        renewed = False
        if bar["session_end"] or last or bar["ts"] >= bar["close"] - params.flatten_ns or not bar["usable"]:
            wanted = 0
        elif changed is not None and bar["ts"] - changed < params.cooldown_ns:
            pass
        elif expected != 0 and abs(expected) > edge:
            wanted = 1 if expected > 0 else -1
            renewed = wanted == side
        elif side != 0 and since is not None and bar["ts"] - since > params.max_hold_ns:
            wanted = 0
        if renewed:
            since = bar["ts"]
        if wanted != side:
            fill = bar["fill"]
            cash -= (wanted - side) * fill * money + abs(wanted - side) * one_side(fill) * money
            if entry is not None:
                bought = (fill - entry[1]) * side * money
                trades.append((entry[0], i, side, bought, (one_side(entry[1]) + one_side(fill)) * money))
            entry = (i, fill) if wanted != 0 else None
            side, since, changed = wanted, bar["ts"], bar["ts"]
        sides.append(side)
        equity.append(cash + side * bar["price"] * money)
    return {"sides": sides, "trades": trades, "equity": equity}
