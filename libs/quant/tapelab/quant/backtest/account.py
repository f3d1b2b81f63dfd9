"""Position, profit and trades of a backtest whose orders may fill in parts.

The sums are those of ``kernel.simulate`` in the same order, so that fills of whole orders give its figures to
the bit. A position is kept in lots, in which parts add up exactly, and in units of a full position, in which
money is counted.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit

#: A fill. The price asked is the close of the bar that decided, the price is the reference of the costs (of a
#: market order its print's, of a passive one the middle of the quotes), the price got has spread and slippage in it.
FILL_DTYPE: Final = np.dtype(
    [
        ("order", "<i8"),  # counts from 0 in the order of arrival
        ("bar", "<i8"),  # whose decision it serves
        ("print", "<i8"),  # row of the print that filled it
        ("sent_ts_ns", "<i8"),  # decision
        ("arrived_ts_ns", "<i8"),
        ("filled_ts_ns", "<i8"),
        ("side", "i1"),  # +1 bought, -1 sold
        ("maker", "i1"),  # 1 passive, 0 market
        ("reason", "i1"),  # decision.Reason
        ("lots", "<f8"),
        ("ahead", "<f8"),  # lots before the order when it came to rest, NaN of market orders
        ("asked", "<f8"),  # quote unit
        ("price", "<f8"),
        ("got", "<f8"),
        ("fee", "<f8"),  # currency
        ("spread", "<f8"),  # negative where the order earned it
        ("slippage", "<f8"),
        ("position", "<f8"),  # lots after the fill
    ]
)

#: What a run carries: the position, the open trade, and sums. Prices of a trade are averages by size.
ACCOUNT: Final = np.dtype(
    [
        ("position", "<f8"),  # lots
        ("held", "<f8"),  # units of a full position
        ("gross", "<f8"),  # of the current bar, price units per full position
        ("fee", "<f8"),
        ("spread", "<f8"),
        ("slippage", "<f8"),
        ("turnover", "<f8"),  # currency
        ("open_price", "<f8"),  # average cost of what is held
        ("entry_bar", "<i8"),
        ("entered", "<f8"),
        ("entry_price", "<f8"),
        ("entry_got", "<f8"),
        ("exited", "<f8"),
        ("exit_price", "<f8"),
        ("exit_got", "<f8"),
        ("trade_gross", "<f8"),
        ("trade_fee", "<f8"),
        ("trade_spread", "<f8"),
        ("trade_slippage", "<f8"),
        ("n_trades", "<i8"),
        ("wins", "<i8"),
    ]
)


class Book(NamedTuple):
    """Where fills and trades are written.

    Args:
        trades: ``TRADE_DTYPE``, of length 0 where trades are only counted.
        fills: ``FILL_DTYPE``, of length 0 where fills are only counted.
        trade_net: f64, currency, with room for every trade.
    """

    trades: npt.NDArray[np.void]
    fills: npt.NDArray[np.void]
    trade_net: npt.NDArray[np.float64]


@njit
def _averaged(average: float, size: float, price: float, total: float) -> float:
    """The average price once ``size`` at ``price`` makes ``total``; the price itself where that is all."""
    return price if size == total else average + (price - average) * (size / total)


@njit
def book_fill(
    account: Any,
    book: Book,
    bars: Any,
    bar: int,
    reason: int,
    position: float,
    price: float,
    got: float,
    fee: float,
    half: float,
    slippage: float,
    mark: float,
    lots: float,
    scale: float,
) -> None:
    """Take a position in lots; fee, half spread and slippage are per lot in price units.

    Args:
        bars: rows with ``ts_ns``, ``price`` and ``expected_return``.
        bar, reason: the decision that is served.
        mark: price at which the bar is marked that the fill is booked at.
        lots: of a full position; ``scale`` is currency per price unit of a full position.
    """
    held, new = account.held, position / lots
    change = new - held
    traded = abs(change)
    account.gross += change * (mark - price)
    account.fee += traded * fee
    account.spread += traded * half
    account.slippage += traded * slippage
    account.turnover += traded * price * scale
    account.position, account.held = position, new
    opened = change
    if held != 0.0 and (held > 0.0) != (change > 0.0):
        whole = new == 0.0 or (new > 0.0) != (held > 0.0)
        closed = held if whole else -change
        size = abs(closed)
        gain = closed * (price - account.open_price)
        # No sum from zero, which would turn a first -0.0 into 0.0.
        account.trade_gross = gain if account.exited == 0.0 else account.trade_gross + gain
        account.exited += size
        account.exit_price = _averaged(account.exit_price, size, price, account.exited)
        account.exit_got = _averaged(account.exit_got, size, got, account.exited)
        account.trade_fee += size * fee
        account.trade_spread += size * half
        account.trade_slippage += size * slippage
        opened = 0.0
        if whole:
            _close_trade(account, book, bars, bar, reason, 1 if held > 0.0 else -1, lots, scale)
            opened = new
    if opened != 0.0:
        size = abs(opened)
        if account.entered == 0.0:
            account.entry_bar = bar
        account.entered += size
        account.open_price = _averaged(account.open_price, size, price, abs(new))
        account.entry_price = _averaged(account.entry_price, size, price, account.entered)
        account.entry_got = _averaged(account.entry_got, size, got, account.entered)
        account.trade_fee += size * fee
        account.trade_spread += size * half
        account.trade_slippage += size * slippage


@njit
def _close_trade(
    account: Any, book: Book, bars: Any, bar: int, reason: int, side: int, lots: float, scale: float
) -> None:
    """Write the trade that came to an end, and begin the next with nothing."""
    gross = account.trade_gross * scale
    fee, spread, slippage = account.trade_fee * scale, account.trade_spread * scale, account.trade_slippage * scale
    cost = fee + spread + slippage
    net = gross - cost
    k = account.n_trades
    book.trade_net[k] = net
    if net > 0.0:
        account.wins += 1
    if k < len(book.trades):
        entry, trade = account.entry_bar, book.trades[k]
        trade.entry_bar, trade.exit_bar = entry, bar
        trade.entry_ts_ns, trade.exit_ts_ns = bars[entry].ts_ns, bars[bar].ts_ns
        trade.side, trade.reason, trade.lots = side, reason, account.entered * lots
        trade.entry_signal, trade.exit_signal = bars[entry].expected_return, bars[bar].expected_return
        trade.entry_asked, trade.exit_asked = bars[entry].price, bars[bar].price
        trade.entry_price, trade.entry_got = account.entry_price, account.entry_got
        trade.exit_price, trade.exit_got = account.exit_price, account.exit_got
        trade.gross, trade.fee, trade.spread, trade.slippage = gross, fee, spread, slippage
        trade.cost, trade.net = cost, net
        trade.net_return = net / (account.entered * scale) / account.entry_price
    account.n_trades += 1
    account.entered = account.exited = 0.0
    account.trade_gross = account.trade_fee = account.trade_spread = account.trade_slippage = 0.0
