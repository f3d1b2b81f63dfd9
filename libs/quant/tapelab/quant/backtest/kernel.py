"""One backtest as one loop over bars: decision rule, fills, costs, equity and key figures.

Arithmetic is ``+ - * /``, ``sqrt`` and comparisons (rounding to ticks adds ``ceil``) in the order written, sums
are sequential, and nothing is reassociated, so that a twin in another language gives the same digits.
``docs/backtest.md`` lists the order for such a twin.

Most bars neither trade nor call for a decision. :func:`find_stops` marks the others, a block of bars at a time,
without branches; the loop then runs from mark to mark.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import fill_costs, round_trip_cost_fraction
from tapelab.quant.backtest.decision import NEVER_NS, Reason, decide
from tapelab.quant.backtest.figures import write_figures
from tapelab.quant.backtest.layout import Market, Records, Settings, fill, grown, record_quiet, record_trade
from tapelab.quant.backtest.outlook import BLOCK, Outlook, find_stops, find_stops_at_once, next_stop, timed_out

_EDGE: Final = int(Reason.EDGE)


@njit
def _hold(
    price: Any,
    ts_ns: Any,
    stops: Any,
    start: int,
    first: int,
    end: int,
    since_ns: int,
    max_hold_ns: int,
    held: float,
    scale: float,
    equity_out: Any,
    equity: float,
    peak: float,
    drawdown: float,
    day_sum: float,
    gross_sum: float,
    return_sum: float,
) -> Any:
    """Mark a position from bar to bar until the rule may change it; costs are zero without a fill."""
    with_equity = len(equity_out) > 0
    i = first
    while i < end and not stops[i - start] and ts_ns[i] - since_ns <= max_hold_ns:
        gross = held * (price[i] - price[i - 1])
        money = gross * scale
        equity += money
        day_sum += money
        peak = equity if equity > peak else peak
        drawdown = peak - equity if peak - equity > drawdown else drawdown
        gross_sum += money
        return_sum += gross / price[i]
        if with_equity:
            equity_out[i] = equity
        i += 1
    return i, equity, peak, drawdown, day_sum, gross_sum, return_sum


@njit
def simulate(
    market: Market,
    settings: Settings,
    threshold: float,
    outlook: Outlook,
    records: Records,
    equity_out: Any,
    trades: Any,
    day_net: Any,
    figures: Any,
) -> Any:
    """Run one threshold over all bars.

    Args:
        equity_out: length n, or 0 where the equity is not asked for.
        trades: f64 ``(room, TRADE_COLUMNS)``, or ``(room, 1)`` for the net alone.
        day_net: scratch, shape ``(d,)``; holds the days' net profit afterwards.
        figures: row of ``figures.Figure``.

    Returns:
        ``trades``, or a larger table with the same rows; and whether all prices that were looked at are finite.
    """
    # Taken out once: numba counts references at every look into a tuple.
    ts_ns, price, fill_price, expected_return = market.ts_ns, market.price, market.fill_price, market.expected_return
    session_close_ns, session_end, usable = market.session_close_ns, market.session_end, market.usable
    spread, volatility, volume, day_start = market.spread, market.volatility, market.volume, market.day_start
    costs, frictions, rule, lots = settings.costs, settings.frictions, settings.rule, settings.lots
    fee_per_contract, bps, spread_ticks, slippage_ticks, tick_size, multiplier = costs
    max_hold_ns, n = rule.max_hold_ns, len(ts_ns)
    record, with_equity, ready = len(records.side) > 0, len(equity_out) > 0, outlook.ready
    has_spread, has_volatility, has_volume = len(spread) > 0, len(volatility) > 0, len(volume) > 0
    fixed_spread = spread_ticks * tick_size
    scale = lots * multiplier
    # Positions in units of a full one; a limit makes a smaller one.
    long_size, short_size = min(lots, frictions.max_long) / lots, min(lots, frictions.max_short) / lots
    stops = np.empty(BLOCK, np.uint8)
    words = stops.view(np.uint64)
    side, since_ns, changed_ns = 0, NEVER_NS, NEVER_NS
    held = 0.0  # signed, in full positions
    equity, peak, drawdown = 0.0, 0.0, 0.0
    gross_sum, fee_sum, spread_sum, slippage_sum, return_sum, turnover = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    n_trades, wins, finite = 0, 0, True
    entry_bar, entry_price, entry_got = 0, 0.0, 0.0
    entry_fee, entry_spread, entry_slippage = 0.0, 0.0, 0.0
    for d in range(len(day_start) - 1):
        day_sum = 0.0
        for start in range(day_start[d], day_start[d + 1], BLOCK):
            end = min(start + BLOCK, day_start[d + 1])
            # A bar closes one trade at most.
            if n_trades + BLOCK > len(trades):
                trades = grown(trades, len(trades) + BLOCK)
            if ready:
                find_stops(
                    expected_return[start:end], outlook.cost[start:end], outlook.forced[start:end], threshold, stops
                )
            else:
                finite &= find_stops_at_once(market, settings, threshold, start, end, stops)
            i = start
            while i < end:
                first, peak_before = i, peak
                if held == 0.0:
                    # Without a position nothing adds up, and a target that limits forbid ends like any other.
                    i = start + next_stop(stops, words, i - start, end - start)
                    if side != 0:
                        i = timed_out(ts_ns, first, i, since_ns, max_hold_ns)
                    if with_equity:
                        fill(equity_out, first, i, equity)
                else:
                    i, equity, peak, drawdown, day_sum, gross_sum, return_sum = _hold(
                        price,
                        ts_ns,
                        stops,
                        start,
                        i,
                        end,
                        since_ns,
                        max_hold_ns,
                        held,
                        scale,
                        equity_out,
                        equity,
                        peak,
                        drawdown,
                        day_sum,
                        gross_sum,
                        return_sum,
                    )
                if record:
                    record_quiet(records, price, equity_out, first, i, side, held, scale, peak_before)
                if i == end:
                    break
                new, reason = decide(
                    side,
                    since_ns,
                    changed_ns,
                    ts_ns[i],
                    session_close_ns[i],
                    expected_return[i],
                    round_trip_cost_fraction(
                        price[i], fee_per_contract, bps, spread_ticks, slippage_ticks, tick_size, multiplier
                    ),
                    usable[i] != 0,
                    session_end[i] != 0 or i == n - 1,
                    False,
                    threshold,
                    rule.cooldown_ns,
                    max_hold_ns,
                    rule.flatten_ns,
                )
                gross = held * (price[i] - price[i - 1]) if held != 0.0 else 0.0
                paid_fee, paid_spread, paid_slippage = 0.0, 0.0, 0.0
                if new != side:
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
                            bps,
                            slippage_ticks,
                            tick_size,
                            multiplier,
                            frictions.slippage_volatility,
                            frictions.impact,
                            frictions.round_to_tick,
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
                            trades[n_trades, 0] = net
                            if net > 0.0:
                                wins += 1
                            if record:
                                net_return = net / (size * scale) / entry_price
                                record_trade(
                                    trades,
                                    n_trades,
                                    entry_bar,
                                    i,
                                    side,
                                    reason,
                                    size * lots,
                                    entry_price,
                                    entry_got,
                                    at,
                                    got,
                                    trade_gross,
                                    trade_fee,
                                    trade_spread,
                                    trade_slippage,
                                    net_return,
                                )
                            n_trades += 1
                        if target != 0.0:
                            size = abs(target)
                            entry_bar, entry_price, entry_got = i, at, got
                            entry_fee, entry_spread, entry_slippage = size * fee, size * half, size * slippage
                    held = target
                    side, since_ns, changed_ns = new, ts_ns[i], ts_ns[i]
                elif reason == _EDGE:
                    since_ns = ts_ns[i]
                paid = paid_fee + paid_spread + paid_slippage
                gross_money, paid_money = gross * scale, paid * scale
                net_money = gross_money - paid_money
                net_return = (gross - paid) / price[i]
                equity += net_money
                day_sum += net_money
                peak = equity if equity > peak else peak
                drawdown = peak - equity if peak - equity > drawdown else drawdown
                gross_sum += gross_money
                fee_sum += paid_fee * scale
                spread_sum += paid_spread * scale
                slippage_sum += paid_slippage * scale
                return_sum += net_return
                if with_equity:
                    equity_out[i] = equity
                if record:
                    records.side[i], records.reason[i], records.drawdown[i] = side, reason, peak - equity
                    records.gross[i], records.cost[i], records.net[i] = gross_money, paid_money, net_money
                    records.net_return[i] = net_return
                i += 1
        day_net[d] = day_sum
    write_figures(
        figures,
        day_net,
        trades[:, 0],
        n_trades,
        wins,
        settings.days_per_year,
        equity,
        gross_sum,
        fee_sum,
        spread_sum,
        slippage_sum,
        return_sum,
        drawdown,
        turnover,
    )
    return trades, finite
