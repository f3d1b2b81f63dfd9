"""What a backtest returns: trades, the way of the profit, and its key figures."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant.backtest.figures import Figure

#: A trade. Prices asked are the bars' closes at the decisions, prices (of the prints) come after the latency,
#: prices got have half the spread and the slippage in them.
TRADE_DTYPE: Final = np.dtype(
    [
        ("entry_bar", "<i8"),
        ("exit_bar", "<i8"),
        ("entry_ts_ns", "<i8"),
        ("exit_ts_ns", "<i8"),
        ("side", "i1"),
        ("reason", "i1"),  # decision.Reason of the exit
        ("lots", "<f8"),
        ("entry_signal", "<f8"),  # expected return at the decision, fraction of the price
        ("exit_signal", "<f8"),
        ("entry_asked", "<f8"),  # quote unit
        ("entry_price", "<f8"),
        ("entry_got", "<f8"),
        ("exit_asked", "<f8"),
        ("exit_price", "<f8"),
        ("exit_got", "<f8"),
        ("gross", "<f8"),  # currency, between the prints' prices
        ("fee", "<f8"),  # currency, both sides
        ("spread", "<f8"),
        ("slippage", "<f8"),
        ("cost", "<f8"),  # fee + spread + slippage
        ("net", "<f8"),
        ("net_return", "<f8"),  # fraction of the entry price
    ]
)


class Kpis(NamedTuple):
    """Key figures; money in the instrument's currency, NaN where a figure is not defined.

    Args:
        net_pnl: gross minus costs.
        gross_pnl: before costs.
        costs: fees, half spreads and slippage of all fills.
        fees, spread, slippage: the parts of ``costs``.
        net_return: sum of the bars' net returns, fractions of the price.
        n_trades: positions opened and closed.
        hit_rate: share of trades with a positive net profit.
        sharpe_daily: mean over standard deviation of the days' net profit, times the root of the
            trading days of a year.
        sharpe_trade: mean over standard deviation of the trades' net profit, not scaled.
        sortino_daily: mean over downside deviation (below zero) of the days, times the root of the
            trading days of a year.
        max_drawdown: deepest fall of the net equity below its running maximum (from 0), >= 0.
        turnover: notional of all fills.
    """

    net_pnl: float
    gross_pnl: float
    costs: float
    net_return: float
    n_trades: int
    hit_rate: float
    sharpe_daily: float
    sharpe_trade: float
    sortino_daily: float
    max_drawdown: float
    turnover: float
    fees: float
    spread: float
    slippage: float


def kpis_of(figures: npt.NDArray[np.float64]) -> Kpis:
    """Key figures of a row of the kernel's output."""
    value: dict[str, Any] = {figure.name.lower(): float(figures[figure]) for figure in Figure}
    value["n_trades"] = int(figures[Figure.N_TRADES])
    return Kpis(costs=value["fees"] + value["spread"] + value["slippage"], **value)


class BacktestResult(NamedTuple):
    """One symbol's backtest over n bars.

    Args:
        side: i8 ``(n,)``, target position after each bar.
        reason: i8 ``(n,)``, :class:`~tapelab.quant.backtest.decision.Reason` of each bar's decision.
        gross: f64 ``(n,)``, currency, marked at the bars' prices.
        cost: f64 ``(n,)``, currency.
        net: f64 ``(n,)``, currency.
        net_return: f64 ``(n,)``, net profit of one lot of a full position as a fraction of the bar's price.
        equity: f64 ``(n,)``, currency, the net profit up to and with each bar; summed bar by bar.
        drawdown: f64 ``(n,)``, currency, fall of the equity below its maximum so far (from 0), >= 0.
        trades: ``TRADE_DTYPE`` array.
        days: i32 ``(d,)``, trading days YYYYMMDD in order.
        day_net: f64 ``(d,)``, currency.
        kpis: key figures.
    """

    side: npt.NDArray[np.int8]
    reason: npt.NDArray[np.int8]
    gross: npt.NDArray[np.float64]
    cost: npt.NDArray[np.float64]
    net: npt.NDArray[np.float64]
    net_return: npt.NDArray[np.float64]
    equity: npt.NDArray[np.float64]
    drawdown: npt.NDArray[np.float64]
    trades: npt.NDArray[np.void]
    days: npt.NDArray[np.int32]
    day_net: npt.NDArray[np.float64]
    kpis: Kpis


def max_drawdown(net: npt.NDArray[np.float64]) -> float:
    """Deepest fall of cumulative profit below its running maximum, which starts at 0; >= 0."""
    if not len(net):
        return 0.0
    equity = np.cumsum(net)
    return float(np.max(np.maximum(np.maximum.accumulate(equity), 0.0) - equity))


def sortino(x: npt.NDArray[np.float64], periods_per_year: int) -> float:
    """Mean over downside deviation (root mean square of what is below 0), annualised; NaN if undefined."""
    if len(x) < 2:
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(x, 0.0) ** 2)))
    return float(np.mean(x)) / downside * math.sqrt(periods_per_year) if downside > 0.0 else math.nan
