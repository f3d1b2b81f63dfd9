"""The backtest with all frictions in plain Python: every bar looked at, every number in the order that is promised."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.decision import DecisionParams, Reason

NEVER = -(1 << 62)


class Fill(NamedTuple):
    """What one lot of a full position paid at a change: price units."""

    bar: int
    price: float
    got: float
    fee: float
    half_spread: float
    slippage: float


class Ledger:
    """Runs at once; its attributes are those of ``BacktestResult``, as lists.

    ``wealth`` is the same profit by another way: cash, and the position at the mark.
    """

    def __init__(
        self, bars: list[dict[str, Any]], params: DecisionParams, costs: CostModel, lots: float, frictions: Frictions
    ) -> None:
        self.bars, self.params, self.costs, self.lots, self.frictions = bars, params, costs, lots, frictions
        self.target, self.since, self.changed = 0, NEVER, NEVER
        self.position = 0.0
        self.entry: Fill | None = None
        self.side: list[int] = []
        self.reason: list[int] = []
        self.gross: list[float] = []
        self.cost: list[float] = []
        self.net: list[float] = []
        self.net_return: list[float] = []
        self.equity: list[float] = []
        self.drawdown: list[float] = []
        self.trades: list[dict[str, Any]] = []
        self.cash, self.wealth = 0.0, list[float]()
        self.fees = self.spread = self.slippage = self.turnover = self.peak = 0.0
        self.day_net: dict[int, float] = {}
        for i in range(len(bars)):
            self._bar(i)

    def _round_trip(self, price: float) -> float:
        c = self.costs
        fee = c.fee_per_contract / c.multiplier + price * c.fee_bps / 1e4
        return 2.0 * (fee + (c.spread_ticks / 2.0 + c.slippage_ticks) * c.tick_size) / price

    def _decision(self, i: int) -> tuple[int, Reason]:
        bar, p = self.bars[i], self.params
        if bar["session_end"] or i == len(self.bars) - 1 or bar["ts"] >= bar["close"] - p.flatten_ns:
            return 0, Reason.SESSION_END
        if not bar["usable"]:
            return 0, Reason.GAP
        if bar["ts"] - self.changed < p.cooldown_ns:
            return self.target, Reason.NONE
        edge, expected = self._round_trip(bar["price"]) + p.threshold, bar["expected_return"]
        for side in (1, -1):
            if side * expected > edge and side * expected > 0.0:
                return side, Reason.FLIP if self.target == -side else Reason.EDGE
        if self.target != 0 and bar["ts"] - self.since > p.max_hold_ns:
            return 0, Reason.EXIT
        return self.target, Reason.NONE

    def _fill(self, i: int, change: float) -> Fill:
        bar, c, f = self.bars[i], self.costs, self.frictions
        direction, price, lots = (1 if change > 0 else -1), bar["fill"], abs(change) * self.lots
        fee = c.fee_per_contract / c.multiplier + price * c.fee_bps / 1e4
        spread = bar.get("spread", c.spread_ticks * c.tick_size)
        half = spread / 2.0 if spread > 0.0 else 0.0
        slippage = c.slippage_ticks * c.tick_size
        sigma, volume = bar.get("volatility", 0.0), bar.get("volume", 0.0)
        if sigma > 0.0:
            share = lots / volume if volume > 0.0 else 1.0
            slippage += price * sigma * (f.slippage_volatility + f.impact * math.sqrt(share))
        if f.round_to_tick:
            ticks = math.ceil(direction * (price + direction * (half + slippage)) / c.tick_size - 1e-6)
            slippage = direction * (direction * ticks * c.tick_size - price) - half
        return Fill(i, price, price + direction * (half + slippage), fee, half, slippage)

    def _bar(self, i: int) -> None:
        bar = self.bars[i]
        scale = self.lots * self.costs.multiplier
        before = self.bars[i - 1]["price"] if i else bar["price"]
        gross = self.position * (bar["price"] - before)
        paid = [0.0, 0.0, 0.0]
        wanted, reason = self._decision(i)
        if wanted != self.target:
            limit = {1: self.frictions.max_long, -1: self.frictions.max_short, 0: math.inf}[wanted]
            position = wanted * (min(self.lots, limit) / self.lots)
            change = position - self.position
            if change != 0.0:
                fill = self._fill(i, change)
                gross += change * (bar["price"] - fill.price)
                paid = [abs(change) * part for part in (fill.fee, fill.half_spread, fill.slippage)]
                self.cash -= (change * fill.price + sum(paid)) * scale
                self.turnover += abs(change) * fill.price * scale
                if self.position != 0.0:
                    self._close(fill, int(reason), scale)
                self.entry = fill
            self.position, self.target, self.since, self.changed = position, wanted, bar["ts"], bar["ts"]
        elif reason == Reason.EDGE:
            self.since = bar["ts"]
        cost = (paid[0] + paid[1]) + paid[2]
        self.fees += paid[0] * scale
        self.spread += paid[1] * scale
        self.slippage += paid[2] * scale
        net = gross * scale - cost * scale
        self.side.append(self.target)
        self.reason.append(int(reason))
        self.gross.append(gross * scale)
        self.cost.append(cost * scale)
        self.net.append(net)
        self.net_return.append((gross - cost) / bar["price"])
        self.equity.append((self.equity[-1] if self.equity else 0.0) + net)
        self.wealth.append(self.cash + self.position * bar["price"] * scale)
        self.peak = max(self.peak, self.equity[-1])
        self.drawdown.append(self.peak - self.equity[-1])
        self.day_net[bar["day"]] = self.day_net.get(bar["day"], 0.0) + net

    def _close(self, fill: Fill, reason: int, scale: float) -> None:
        entry, size = self.entry, abs(self.position)
        assert entry is not None
        parts = {
            "fee": (size * entry.fee + size * fill.fee) * scale,
            "spread": (size * entry.half_spread + size * fill.half_spread) * scale,
            "slippage": (size * entry.slippage + size * fill.slippage) * scale,
        }
        gross = self.position * (fill.price - entry.price) * scale
        cost = (parts["fee"] + parts["spread"]) + parts["slippage"]
        row: dict[str, Any] = {"side": 1 if self.position > 0 else -1, "reason": reason, "lots": size * self.lots}
        for name, end in (("entry", entry), ("exit", fill)):
            bar = self.bars[end.bar]
            row |= {f"{name}_bar": end.bar, f"{name}_ts_ns": bar["ts"], f"{name}_signal": bar["expected_return"]}
            row |= {f"{name}_asked": bar["price"], f"{name}_price": end.price, f"{name}_got": end.got}
        net = gross - cost
        row |= parts | {"gross": gross, "cost": cost, "net": net, "net_return": net / (size * scale) / entry.price}
        self.trades.append(row)

    def kpis(self) -> dict[str, float]:
        """Key figures by the names of ``Kpis``."""
        nets, days = [t["net"] for t in self.trades], list(self.day_net.values())
        year = math.sqrt(252)
        return {
            "net_pnl": _total(self.net),
            "gross_pnl": _total(self.gross),
            "costs": self.fees + self.spread + self.slippage,
            "net_return": _total(self.net_return),
            "n_trades": len(nets),
            "hit_rate": sum(net > 0.0 for net in nets) / len(nets) if nets else math.nan,
            "sharpe_daily": _sharpe(days) * year,
            "sharpe_trade": _sharpe(nets),
            "sortino_daily": _sortino(days) * year,
            "max_drawdown": max(self.drawdown, default=0.0),
            "turnover": self.turnover,
            "fees": self.fees,
            "spread": self.spread,
            "slippage": self.slippage,
        }


def _total(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


def _sharpe(values: list[float]) -> float:
    if len(values) < 2:
        return math.nan
    mean = _total(values) / len(values)
    deviation = math.sqrt(_total([(value - mean) * (value - mean) for value in values]) / (len(values) - 1))
    return mean / deviation if deviation > 1e-12 * max(abs(value) for value in values) else math.nan


def _sortino(values: list[float]) -> float:
    if len(values) < 2:
        return math.nan
    downside = math.sqrt(_total([value * value for value in values if value < 0.0]) / len(values))
    return _total(values) / len(values) / downside if downside > 0.0 else math.nan
