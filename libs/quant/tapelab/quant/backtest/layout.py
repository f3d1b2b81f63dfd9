"""What goes into the kernel and what it records: columns, settings, and the tables it writes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.decision import DecisionParams

#: Columns of the table of trades: net, entry and exit bar, side, reason, lots, price and price got at entry, the same
#: at exit, gross, fee, spread, slippage, net return. A table of one column records the net alone.
TRADE_COLUMNS: Final = 15


class Market(NamedTuple):
    """Columns as in ``engine.run_backtest``, contiguous and of the kernel's types; n bars of d days.

    ``day_start`` holds the first bar of every day, then n; flags are u8; ``spread``, ``volatility`` and
    ``volume`` have length 0 where there are none.
    """

    day_start: Any
    ts_ns: Any
    price: Any
    fill_price: Any
    session_close_ns: Any
    session_end: Any
    usable: Any
    expected_return: Any
    spread: Any
    volatility: Any
    volume: Any


class Settings(NamedTuple):
    """What a run is set to; the threshold of ``rule`` is replaced by each run's own."""

    rule: DecisionParams
    costs: CostModel
    frictions: Frictions
    lots: float
    days_per_year: float


class Records(NamedTuple):
    """Columns of a run, zeros of length n; of length 0 where nothing is to be recorded."""

    side: Any
    reason: Any
    gross: Any
    cost: Any
    net: Any
    net_return: Any
    drawdown: Any


@njit
def fill(values: Any, first: int, end: int, value: float) -> None:
    """One value into some rows."""
    for i in range(first, end):
        values[i] = value


@njit
def record_quiet(
    records: Records, price: Any, equity: Any, first: int, end: int, side: int, held: float, scale: float, peak: float
) -> None:
    """Records of bars without a decision; ``peak`` is that before them."""
    for i in range(first, end):
        records.side[i] = side
        peak = equity[i] if equity[i] > peak else peak
        records.drawdown[i] = peak - equity[i]
        if held != 0.0:
            gross = held * (price[i] - price[i - 1])
            records.gross[i] = records.net[i] = gross * scale
            records.net_return[i] = gross / price[i]


@njit
def record_trade(
    trades: Any,
    row: int,
    entry_bar: int,
    exit_bar: int,
    side: int,
    reason: int,
    lots: float,
    entry_price: float,
    entry_got: float,
    exit_price: float,
    exit_got: float,
    gross: float,
    fee: float,
    spread: float,
    slippage: float,
    net_return: float,
) -> None:
    """All columns but the net."""
    trades[row, 1], trades[row, 2], trades[row, 3], trades[row, 4] = entry_bar, exit_bar, side, reason
    trades[row, 5], trades[row, 6], trades[row, 7], trades[row, 8] = lots, entry_price, entry_got, exit_price
    trades[row, 9], trades[row, 10], trades[row, 11], trades[row, 12] = exit_got, gross, fee, spread
    trades[row, 13], trades[row, 14] = slippage, net_return


@njit
def grown(table: Any, more: int) -> Any:
    """The rows of a table, with room for so many more."""
    larger = np.empty((len(table) + more, table.shape[1]))
    larger[: len(table)] = table
    return larger
