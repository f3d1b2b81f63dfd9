"""One backtest as one loop over bars: decision rule, fills, costs, equity and key figures.

Arithmetic is ``+ - * /``, ``sqrt`` and comparisons (rounding to ticks adds ``ceil``) in the order written, sums
are sequential, and nothing is reassociated, so that a twin in another language gives the same digits.
``docs/backtest.md`` lists the order for such a twin.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, Final

from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import fill_costs
from tapelab.quant.backtest.decision import NEVER_NS, Reason, decide

TRADING_DAYS_PER_YEAR: Final = 252


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
#: Columns of a trade: whole numbers, then floats, in the order of ``results.TRADE_DTYPE``.
TRADE_WHOLE: Final = 6
TRADE_FLOATS: Final = 14

_EDGE: Final = int(Reason.EDGE)
_YEAR: Final = math.sqrt(TRADING_DAYS_PER_YEAR)


@njit
def ratio_of(values: Any, n: int) -> float:
    """Mean over standard deviation (n - 1) of the first n values; NaN below two or where they do not vary."""
    if n < 2:
        return math.nan
    total, largest = 0.0, 0.0
    for i in range(n):
        total += values[i]
        largest = max(largest, abs(values[i]))
    mean, squares = total / n, 0.0
    for i in range(n):
        off = values[i] - mean
        squares += off * off
    deviation = math.sqrt(squares / (n - 1))
    # Equal values leave a rounding residue instead of zero.
    return mean / deviation if deviation > 1e-12 * largest else math.nan


@njit
def downside_ratio_of(values: Any, n: int) -> float:
    """Mean over the root mean square of what is below zero, of the first n values; NaN where undefined."""
    if n < 2:
        return math.nan
    total, squares = 0.0, 0.0
    for i in range(n):
        total += values[i]
        if values[i] < 0.0:
            squares += values[i] * values[i]
    downside = math.sqrt(squares / n)
    return total / n / downside if downside > 0.0 else math.nan


@njit
def simulate(
    day_start: Any,
    ts_ns: Any,
    price: Any,
    fill_price: Any,
    session_close_ns: Any,
    session_end: Any,
    usable: Any,
    expected_return: Any,
    cost_fraction: Any,
    spread: Any,
    volatility: Any,
    volume: Any,
    threshold: float,
    cooldown_ns: int,
    max_hold_ns: int,
    flatten_ns: int,
    fee_per_contract: float,
    fee_bps: float,
    spread_ticks: float,
    slippage_ticks: float,
    tick_size: float,
    multiplier: float,
    slippage_volatility: float,
    impact: float,
    round_to_tick: bool,
    max_long: float,
    max_short: float,
    lots: float,
    record: bool,
    with_equity: bool,
    side_out: Any,
    reason_out: Any,
    gross_out: Any,
    cost_out: Any,
    net_return_out: Any,
    equity_out: Any,
    trade_whole: Any,
    trade_floats: Any,
    trade_net: Any,
    day_net: Any,
    figures: Any,
) -> None:
    """Run one threshold over all bars.

    Args:
        day_start: first bar of every day, then n; the other columns as in ``engine.run_backtest``.
        spread, volatility, volume: columns of length n, or of length 0 where there are none.
        record: write the columns and trades; ``with_equity``: write the equity. What is not written may have
            length 0.
        trade_net, day_net: scratch with room for every trade and day.
        figures: row of :class:`Figure`.
    """
    n = len(ts_ns)
    has_spread, has_volatility, has_volume = len(spread) > 0, len(volatility) > 0, len(volume) > 0
    fixed_spread = spread_ticks * tick_size
    scale = lots * multiplier
    # Positions in units of a full one; a limit makes a smaller one.
    long_size, short_size = min(lots, max_long) / lots, min(lots, max_short) / lots
    side, since_ns, changed_ns = 0, NEVER_NS, NEVER_NS
    held = 0.0  # signed, in full positions
    equity, peak, drawdown = 0.0, 0.0, 0.0
    gross_sum, fee_sum, spread_sum, slippage_sum, return_sum, turnover = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    n_trades, wins = 0, 0
    entry_bar, entry_price, entry_got = 0, 0.0, 0.0
    entry_fee, entry_spread, entry_slippage = 0.0, 0.0, 0.0
    for d in range(len(day_start) - 1):
        day_sum = 0.0
        for i in range(day_start[d], day_start[d + 1]):
            expected, cost = expected_return[i], cost_fraction[i]
            # What the rule answers on most bars needs no call: flat without an edge stays flat by every clause, and
            # a position without an edge, an end or a time-out stays as it is. The reason matters to records alone.
            quiet = not record and not abs(expected) > cost + threshold
            if quiet and side == 0:
                if with_equity:
                    equity_out[i] = equity
                continue
            if quiet:
                ts = ts_ns[i]
                open_still = ts < session_close_ns[i] - flatten_ns and not session_end[i] and i < n - 1
                quiet = open_still and usable[i] and ts - since_ns <= max_hold_ns
            new, reason = side, 0
            if not quiet:
                new, reason = decide(
                    side,
                    since_ns,
                    changed_ns,
                    ts_ns[i],
                    session_close_ns[i],
                    expected,
                    cost,
                    usable[i],
                    session_end[i] or i == n - 1,
                    False,
                    threshold,
                    cooldown_ns,
                    max_hold_ns,
                    flatten_ns,
                )
            if new == side:
                if reason == _EDGE:
                    since_ns = ts_ns[i]
                # Without a fill all costs are zero; leaving them out changes no bit.
                if held != 0.0:
                    gross = held * (price[i] - price[i - 1])
                    gross_money = gross * scale
                    net_return = gross / price[i]
                    equity += gross_money
                    day_sum += gross_money
                    if equity > peak:
                        peak = equity
                    if peak - equity > drawdown:
                        drawdown = peak - equity
                    gross_sum += gross_money
                    return_sum += net_return
                    if record:
                        gross_out[i], net_return_out[i] = gross_money, net_return
                if record:
                    side_out[i], reason_out[i] = side, reason
                if with_equity:
                    equity_out[i] = equity
                continue
            gross = held * (price[i] - price[i - 1]) if held != 0.0 else 0.0
            paid_fee, paid_spread, paid_slippage = 0.0, 0.0, 0.0
            target = long_size if new > 0 else -short_size if new < 0 else 0.0
            change = target - held
            traded = abs(change)
            at = fill_price[i]
            if traded > 0.0:
                direction = 1 if change > 0.0 else -1
                fee, half, slippage = fill_costs(
                    direction,
                    at,
                    traded * lots,
                    spread[i] if has_spread else fixed_spread,
                    volatility[i] if has_volatility else 0.0,
                    volume[i] if has_volume else 0.0,
                    fee_per_contract,
                    fee_bps,
                    slippage_ticks,
                    tick_size,
                    multiplier,
                    slippage_volatility,
                    impact,
                    round_to_tick,
                )
                gross += change * (price[i] - at)
                paid_fee, paid_spread, paid_slippage = traded * fee, traded * half, traded * slippage
                turnover += traded * at * scale
                got = at + direction * (half + slippage)
                if held != 0.0:
                    size = abs(held)
                    trade_gross = held * (at - entry_price) * scale
                    trade_fee = (entry_fee + size * fee) * scale
                    trade_spread = (entry_spread + size * half) * scale
                    trade_slippage = (entry_slippage + size * slippage) * scale
                    trade_cost = trade_fee + trade_spread + trade_slippage
                    net = trade_gross - trade_cost
                    trade_net[n_trades] = net
                    if net > 0.0:
                        wins += 1
                    if record:
                        trade_whole[n_trades, 0], trade_whole[n_trades, 1] = entry_bar, i
                        trade_whole[n_trades, 2], trade_whole[n_trades, 3] = ts_ns[entry_bar], ts_ns[i]
                        trade_whole[n_trades, 4], trade_whole[n_trades, 5] = side, reason
                        row = trade_floats[n_trades]
                        row[0], row[1], row[2] = size * lots, expected_return[entry_bar], expected
                        row[3], row[4], row[5] = price[entry_bar], entry_price, entry_got
                        row[6], row[7], row[8] = price[i], at, got
                        row[9], row[10], row[11], row[12] = trade_gross, trade_fee, trade_spread, trade_slippage
                        row[13] = net / (size * scale) / entry_price
                    n_trades += 1
                if target != 0.0:
                    size = abs(target)
                    entry_bar, entry_price, entry_got = i, at, got
                    entry_fee, entry_spread, entry_slippage = size * fee, size * half, size * slippage
            held = target
            side, since_ns, changed_ns = new, ts_ns[i], ts_ns[i]
            paid = paid_fee + paid_spread + paid_slippage
            gross_money, paid_money = gross * scale, paid * scale
            net_money = gross_money - paid_money
            net_return = (gross - paid) / price[i]
            equity += net_money
            day_sum += net_money
            if equity > peak:
                peak = equity
            if peak - equity > drawdown:
                drawdown = peak - equity
            gross_sum += gross_money
            fee_sum += paid_fee * scale
            spread_sum += paid_spread * scale
            slippage_sum += paid_slippage * scale
            return_sum += net_return
            if record:
                side_out[i], reason_out[i] = side, reason
                gross_out[i], cost_out[i], net_return_out[i] = gross_money, paid_money, net_return
            if with_equity:
                equity_out[i] = equity
        day_net[d] = day_sum
    n_days = len(day_start) - 1
    figures[0], figures[1] = equity, gross_sum
    figures[2], figures[3], figures[4] = fee_sum, spread_sum, slippage_sum
    figures[5], figures[6] = return_sum, n_trades
    figures[7] = wins / n_trades if n_trades > 0 else math.nan
    figures[8] = ratio_of(day_net, n_days) * _YEAR
    figures[9] = ratio_of(trade_net, n_trades)
    figures[10] = downside_ratio_of(day_net, n_days) * _YEAR
    figures[11], figures[12] = drawdown, turnover
