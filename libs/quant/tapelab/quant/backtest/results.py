"""What a backtest returns: trades, the way of the profit, and its key figures."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant.validation.sharpe import sharpe

TRADING_DAYS_PER_YEAR: Final = 252

TRADE_DTYPE: Final = np.dtype(
    [
        ("entry_bar", "<i8"),
        ("exit_bar", "<i8"),
        ("entry_ts_ns", "<i8"),
        ("exit_ts_ns", "<i8"),
        ("side", "i1"),
        ("reason", "i1"),  # decision.Reason of the exit
        ("entry_price", "<f8"),  # quote unit, before costs
        ("exit_price", "<f8"),
        ("gross", "<f8"),  # currency
        ("cost", "<f8"),  # currency, both sides
        ("net", "<f8"),  # currency
        ("net_return", "<f8"),  # fraction of the entry price
    ]
)


class Kpis(NamedTuple):
    """Key figures; money in the instrument's currency, NaN where a figure is not defined.

    Args:
        net_pnl: gross minus costs.
        gross_pnl: before costs.
        costs: fees, half spreads and slippage of all fills.
        net_return: sum of the bars' net returns, fractions of the price.
        n_trades: positions opened and closed.
        hit_rate: share of trades with a positive net profit.
        sharpe_daily: mean over standard deviation of the days' net profit, times sqrt(252).
        sharpe_trade: mean over standard deviation of the trades' net profit, not scaled.
        sortino_daily: mean over downside deviation (below zero) of the days, times sqrt(252).
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


class BacktestResult(NamedTuple):
    """One symbol's backtest over n bars.

    Args:
        side: i8 ``(n,)``, target position after each bar.
        reason: i8 ``(n,)``, :class:`~tapelab.quant.backtest.decision.Reason` of each bar's decision.
        gross: f64 ``(n,)``, currency, marked at the bars' prices.
        cost: f64 ``(n,)``, currency.
        net: f64 ``(n,)``, currency.
        net_return: f64 ``(n,)``, net profit of one lot as a fraction of the bar's price.
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


def summarise(
    gross: npt.NDArray[np.float64],
    cost: npt.NDArray[np.float64],
    net_return: npt.NDArray[np.float64],
    trades: npt.NDArray[np.void],
    day_net: npt.NDArray[np.float64],
    turnover: float,
) -> Kpis:
    """Key figures of per-bar profit (currency), trades and days."""
    net = gross - cost
    n_trades = len(trades)
    return Kpis(
        net_pnl=float(net.sum()),
        gross_pnl=float(gross.sum()),
        costs=float(cost.sum()),
        net_return=float(net_return.sum()),
        n_trades=n_trades,
        hit_rate=float(np.mean(trades["net"] > 0.0)) if n_trades else math.nan,
        sharpe_daily=sharpe(day_net, periods_per_year=TRADING_DAYS_PER_YEAR),
        sharpe_trade=sharpe(trades["net"]),
        sortino_daily=sortino(day_net, TRADING_DAYS_PER_YEAR),
        max_drawdown=max_drawdown(net),
        turnover=turnover,
    )
