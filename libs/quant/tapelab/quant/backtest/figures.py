"""A run's key figures, as the kernels write them."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, Final

from tapelab.quant._numba import njit
from tapelab.quant.backtest.ratios import downside_ratio_of, ratio_of


class Figure(IntEnum):
    """Where a key figure stands in a row of the kernel's output."""

    NET_PNL = 0
    GROSS_PNL = 1
    FEES = 2
    SPREAD = 3
    SLIPPAGE = 4
    NET_RETURN = 5
    N_TRADES = 6
    HIT_RATE = 7
    SHARPE_DAILY = 8
    SHARPE_TRADE = 9
    SORTINO_DAILY = 10
    MAX_DRAWDOWN = 11
    TURNOVER = 12


N_FIGURES: Final = len(Figure)


@njit
def write_figures(
    figures: Any,
    day_net: Any,
    trade_net: Any,
    n_trades: int,
    wins: int,
    days_per_year: float,
    equity: float,
    gross: float,
    fees: float,
    spread: float,
    slippage: float,
    net_return: float,
    drawdown: float,
    turnover: float,
) -> None:
    """Fill a row of :class:`Figure` from a run's sums, its days and its first ``n_trades`` trades."""
    n_days, year = len(day_net), math.sqrt(days_per_year)
    figures[0], figures[1] = equity, gross
    figures[2], figures[3], figures[4] = fees, spread, slippage
    figures[5], figures[6] = net_return, n_trades
    figures[7] = wins / n_trades if n_trades > 0 else math.nan
    figures[8] = ratio_of(day_net, n_days) * year
    figures[9] = ratio_of(trade_net, n_trades)
    figures[10] = downside_ratio_of(day_net, n_days) * year
    figures[11], figures[12] = drawdown, turnover
