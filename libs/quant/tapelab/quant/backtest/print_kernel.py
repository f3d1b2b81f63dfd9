"""One backtest as one loop in the order of events: decisions at bar closes, messages and fills at prints.

The decision rule goes by its target, as inference does; what an order has not filled never changes a decision.
A message carries the position that is wanted. When it arrives, what still rests is cancelled, and an order for
the difference is made, so that nothing is sent twice however many messages are on their way. Messages arrive in
the order in which they were sent, and an order meets the first print strictly later than its arrival.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from tapelab.quant._numba import njit
from tapelab.quant.backtest.account import Book, book_fill
from tapelab.quant.backtest.costs import CostModel, Frictions, fill_costs
from tapelab.quant.backtest.decision import NEVER_NS, DecisionParams, Reason, decide
from tapelab.quant.backtest.kernel import TRADING_DAYS_PER_YEAR
from tapelab.quant.backtest.orders import OrderPolicy, passive_price, wait
from tapelab.quant.backtest.prints import first_later
from tapelab.quant.backtest.ratios import downside_ratio_of, ratio_of

_EDGE: Final = int(Reason.EDGE)
_SESSION_END: Final = int(Reason.SESSION_END)
_GAP: Final = int(Reason.GAP)
_YEAR: Final = math.sqrt(TRADING_DAYS_PER_YEAR)


#: What is known of a bar, as ``print_engine.run_on_prints`` takes it; ``last_print`` is a row of the prints.
BAR: Final = np.dtype(
    [
        ("ts_ns", "<i8"),
        ("price", "<f8"),
        ("last_print", "<i8"),
        ("session_close_ns", "<i8"),
        ("expected_return", "<f8"),
        ("cost_fraction", "<f8"),
        ("spread", "<f8"),  # price units
        ("volatility", "<f8"),
        ("volume", "<f8"),
        ("latency_ns", "<i8"),
        ("ahead", "<f8"),
        ("session_end", "?"),
        ("usable", "?"),
    ]
)

#: What a run is set to, under the names of its parts.
SETTINGS: Final = np.dtype(
    [
        *((name, "<f8" if name == "threshold" else "<i8") for name in DecisionParams._fields),
        *((name, "<f8") for name in CostModel._fields),
        *((name, "?" if name == "round_to_tick" else "<f8") for name in Frictions._fields),
        *((name, "<i8" if name == "patience_ns" else "?") for name in OrderPolicy._fields),
        ("lots", "<f8"),  # of a full position
    ]
)

#: What is written per bar.
ROW: Final = np.dtype(
    [
        ("side", "i1"),
        ("reason", "i1"),
        ("gross", "<f8"),
        ("cost", "<f8"),
        ("net_return", "<f8"),
        ("equity", "<f8"),
    ]
)


class Run(NamedTuple):
    """What does not change during a run: ``BAR`` rows, ``PRINT_DTYPE`` rows, and a ``SETTINGS``."""

    bars: Any
    prints: Any
    settings: Any


#: A message on its way.
MESSAGE: Final = np.dtype(
    [
        ("bar", "<i8"),
        ("reason", "<i8"),
        ("arrival_ns", "<i8"),
        ("start", "<i8"),  # first print it can meet
        ("before", "<i8"),  # last print that an older order still meets
        ("last", "<i8"),  # the session's last print
        ("position", "<f8"),  # wanted, lots
        ("limit", "?"),  # by a passive order
    ]
)

#: The order that rests.
RESTING: Final = np.dtype(
    [
        ("live", "?"),
        ("number", "<i8"),
        ("bar", "<i8"),
        ("reason", "<i8"),
        ("arrival_ns", "<i8"),
        ("expires_ns", "<i8"),
        ("row", "<i8"),  # next print to meet
        ("last", "<i8"),
        ("direction", "<i8"),
        ("position", "<f8"),  # once it is filled, lots
        ("limit", "<f8"),
        ("ahead", "<f8"),
        ("joined_behind", "<f8"),  # what was ahead at first
    ]
)

#: Counts besides ``kernel.Figure``; lots and time are of passive orders and their fills.
COUNTS: Final = np.dtype(
    [
        ("fills", "<i8"),
        ("orders", "<i8"),
        ("passive_orders", "<i8"),
        ("passive_lots", "<f8"),
        ("maker_lots", "<f8"),
        ("taker_lots", "<f8"),
        ("waited_lot_s", "<f8"),
    ]
)


@njit
def _fill(
    run: Run, account: Any, book: Book, counts: Any, mark: float,
    number: int, bar: int, reason: int, arrival_ns: int, row: int, position: float, limit: float, ahead: float,
) -> None:  # fmt: skip
    """Fill to a position at a print: at a limit as a maker, or at the print's price where the limit is NaN."""
    now, costs = run.bars[bar], run.settings
    change = position - account.position
    direction = 1 if change > 0.0 else -1
    spread = now.spread
    maker = not math.isnan(limit)
    if maker:
        # Costs are counted from the middle of the quotes: a market order pays half the spread, a passive one is
        # paid it.
        half, slippage, got = -spread / 2.0 if spread > 0.0 else 0.0, 0.0, limit
        price = limit - direction * half
        fee = costs.fee_per_contract / costs.multiplier + limit * costs.fee_bps / 1e4
    else:
        price = run.prints[row].price
        fee, half, slippage = fill_costs(
            direction,
            price,
            abs(position / costs.lots - account.held) * costs.lots,
            spread,
            now.volatility,
            now.volume,
            costs.fee_per_contract,
            costs.fee_bps,
            costs.slippage_ticks,
            costs.tick_size,
            costs.multiplier,
            costs.slippage_volatility,
            costs.impact,
            costs.round_to_tick,
        )
        got = price + direction * (half + slippage)
    scale = costs.lots * costs.multiplier
    book_fill(account, book, run.bars, bar, reason, position, price, got, fee, half, slippage, mark, costs.lots, scale)
    size = abs(change)
    if counts.fills < len(book.fills):
        money, fill = size * costs.multiplier, book.fills[counts.fills]
        fill.order, fill.bar, fill.print = number, bar, row
        fill.sent_ts_ns, fill.arrived_ts_ns = now.ts_ns, arrival_ns
        fill.filled_ts_ns = run.prints[row].ts_ns
        fill.side, fill.maker, fill.reason = direction, 1 if maker else 0, reason
        fill.lots, fill.ahead, fill.asked, fill.price, fill.got = size, ahead, now.price, price, got
        fill.fee, fill.spread, fill.slippage, fill.position = fee * money, half * money, slippage * money, position
    counts.fills += 1
    if maker:
        counts.maker_lots += size
        counts.waited_lot_s += size * ((run.prints[row].ts_ns - arrival_ns) / 1e9)
    else:
        counts.taker_lots += size


@njit
def _rest(run: Run, account: Any, order: Any, counts: Any, known: int, arrival_ns: int, row: int) -> None:
    """Let an order come to rest, priced by the print ``known`` when it was sent; ``row`` is the next print."""
    prints, tick_size, direction = run.prints, run.settings.tick_size, order.direction
    width = max(run.settings.spread_ticks, 1.0) * tick_size
    limit = passive_price(direction, prints[known].price, prints[known].side, width, tick_size)
    here = row - 1
    best = passive_price(direction, prints[here].price, prints[here].side, width, tick_size)
    across = passive_price(-direction, prints[here].price, prints[here].side, width, tick_size)
    if direction * (across - limit) < tick_size / 2.0:
        limit = best
    if order.live and abs(limit - order.limit) < tick_size / 2.0:
        return
    better = direction * (limit - best) > tick_size / 2.0
    order.live, order.number, order.limit, order.arrival_ns, order.row = True, counts.orders, limit, arrival_ns, row
    order.ahead = order.joined_behind = 0.0 if better else run.bars[order.bar].ahead
    counts.orders += 1
    counts.passive_orders += 1
    counts.passive_lots += abs(order.position - account.position)


@njit
def _out_of_patience(run: Run, account: Any, order: Any, book: Book, counts: Any, mark: float) -> None:
    """What becomes of the resting order at the first print after its patience."""
    row, patience_ns = order.row, run.settings.patience_ns
    if run.settings.then_market:
        order.live = False
        _fill(
            run, account, book, counts, mark,
            counts.orders, order.bar, order.reason, order.expires_ns, row, order.position, math.nan, math.nan,
        )  # fmt: skip
        counts.orders += 1
        return
    # Only the last time before this print matters. Its message was sent a latency earlier, on what was known then.
    order.expires_ns += (run.prints[row].ts_ns - 1 - order.expires_ns) // patience_ns * patience_ns
    decided = run.bars[order.bar].last_print
    known = first_later(run.prints, decided, order.expires_ns - run.bars[order.bar].latency_ns) - 1
    _rest(run, account, order, counts, max(known, decided), order.expires_ns, row)
    order.expires_ns += patience_ns


@njit
def _meet_prints(run: Run, account: Any, order: Any, book: Book, counts: Any, mark: float, until: int) -> None:
    """Let the prints up to a row pass by the resting order."""
    prints, last = run.prints, min(until, order.last)
    while order.live and order.row <= last:
        left = abs(order.position - account.position)
        row, ahead, filled = wait(
            prints,
            order.row,
            last,
            order.expires_ns,
            order.direction,
            order.limit,
            run.settings.tick_size / 2.0,
            order.ahead,
            left,
        )
        order.row, order.ahead = row, ahead
        if row > last:
            break
        if filled == 0.0:
            _out_of_patience(run, account, order, book, counts, mark)
            continue
        # The last part ends exactly at what was wanted.
        order.live = filled < left
        position = account.position + order.direction * filled if order.live else order.position
        _fill(
            run, account, book, counts, mark,
            order.number, order.bar, order.reason, order.arrival_ns, row, position, order.limit, order.joined_behind,
        )  # fmt: skip
        order.row = row + 1
    if order.row > order.last:
        order.live = False


@njit
def _arrive(run: Run, account: Any, order: Any, book: Book, counts: Any, mark: float, message: Any) -> None:
    """A message reaches the market: it cancels what rests, and trades or rests."""
    order.live = False
    change = message.position - account.position
    if change == 0.0:
        return
    if not message.limit:
        _fill(
            run, account, book, counts, mark,
            counts.orders, message.bar, message.reason, message.arrival_ns, message.start, message.position,
            math.nan, math.nan,
        )  # fmt: skip
        counts.orders += 1
        return
    order.bar, order.reason, order.position, order.last = message.bar, message.reason, message.position, message.last
    order.direction = 1 if change > 0.0 else -1
    order.expires_ns = message.arrival_ns + run.settings.patience_ns
    _rest(run, account, order, counts, run.bars[message.bar].last_print, message.arrival_ns, message.start)


@njit
def _events(
    run: Run, account: Any, order: Any, book: Book, counts: Any, mark: float, mail: Any, head: int, tail: int, stop: int
) -> int:
    """Everything that happens up to a print; the messages that are still on their way begin at what is returned."""
    while head < tail and mail[head].start <= stop:
        # Prints before the arrival still find the old order.
        _meet_prints(run, account, order, book, counts, mark, mail[head].before)
        _arrive(run, account, order, book, counts, mark, mail[head])
        head += 1
    _meet_prints(run, account, order, book, counts, mark, stop)
    return head


@njit
def _send(run: Run, message: Any, i: int, reason: int, arrival_ns: int, position: float) -> bool:
    """Write a message; false where it is a passive order that the session's close forestalls."""
    bar, prints = run.bars[i], run.prints
    message.bar, message.reason, message.arrival_ns, message.position = i, reason, arrival_ns, position
    message.limit = run.settings.limit and reason not in (_SESSION_END, _GAP)
    message.last = first_later(prints, bar.last_print, bar.session_close_ns - 1) - 1
    message.start = first_later(prints, bar.last_print + 1, arrival_ns)
    message.before = message.start - 1
    if message.start <= message.last:
        return True
    # Too late for a print of the session: what must trade takes the last one.
    message.start = message.before = message.last
    return not message.limit


@njit
def simulate_prints(
    run: Run, day_start: Any, out: Any, mail: Any, account: Any, order: Any, book: Book, counts: Any,
    day_net: Any, figures: Any,
) -> None:  # fmt: skip
    """Run one tape.

    Args:
        day_start: first bar of every day, then n.
        out: ``ROW`` per bar, of length 0 where only figures are wanted.
        mail: ``MESSAGE``, scratch of a row per bar; ``day_net``: per day.
        account, order, counts: an ``ACCOUNT``, a ``RESTING`` and a ``COUNTS``, all zero.
        figures: row of ``kernel.Figure``.
    """
    bars, rules, n = run.bars, run.settings, len(run.bars)
    scale = rules.lots * rules.multiplier
    long_lots, short_lots = min(rules.lots, rules.max_long), min(rules.lots, rules.max_short)
    record = len(out) > 0
    side, since_ns, changed_ns, arrival_ns = 0, NEVER_NS, NEVER_NS, NEVER_NS
    head, tail = 0, 0
    equity, peak, drawdown = 0.0, 0.0, 0.0
    gross_sum, fee_sum, spread_sum, slippage_sum, return_sum = 0.0, 0.0, 0.0, 0.0, 0.0
    for d in range(len(day_start) - 1):
        day_sum = 0.0
        for i in range(day_start[d], day_start[d + 1]):
            bar = bars[i]
            price = bar.price
            account.gross = account.held * (price - bars[i - 1].price) if account.held != 0.0 else 0.0
            account.fee = account.spread = account.slippage = 0.0
            new, reason = decide(
                side,
                since_ns,
                changed_ns,
                bar.ts_ns,
                bar.session_close_ns,
                bar.expected_return,
                bar.cost_fraction,
                bar.usable,
                bar.session_end or i == n - 1,
                False,
                rules.threshold,
                rules.cooldown_ns,
                rules.max_hold_ns,
                rules.flatten_ns,
            )
            # A forced exit concerns orders as well: the target may be flat while the position is not yet.
            forced = reason in (_SESSION_END, _GAP)
            if new != side or (forced and (account.position != 0.0 or order.live or head < tail)):
                arrival_ns = max(bar.ts_ns + bar.latency_ns, arrival_ns)
                position = long_lots if new > 0 else -short_lots if new < 0 else 0.0
                if head == tail:
                    head = tail = 0
                if _send(run, mail[tail], i, reason, arrival_ns, position):
                    tail += 1
            if new != side:
                side, since_ns, changed_ns = new, bar.ts_ns, bar.ts_ns
            elif reason == _EDGE:
                since_ns = bar.ts_ns
            if order.live or head < tail:
                stop = bars[i + 1].last_print if i < n - 1 else len(run.prints) - 1
                head = _events(run, account, order, book, counts, price, mail, head, tail, stop)
            paid = account.fee + account.spread + account.slippage
            gross_money, paid_money = account.gross * scale, paid * scale
            net_return = (account.gross - paid) / price
            net_money = gross_money - paid_money
            equity += net_money
            day_sum += net_money
            if equity > peak:
                peak = equity
            if peak - equity > drawdown:
                drawdown = peak - equity
            gross_sum += gross_money
            fee_sum += account.fee * scale
            spread_sum += account.spread * scale
            slippage_sum += account.slippage * scale
            return_sum += net_return
            if record:
                row = out[i]
                row.side, row.reason, row.gross, row.cost = side, reason, gross_money, paid_money
                row.net_return, row.equity = net_return, equity
        day_net[d] = day_sum
    n_days, n_trades = len(day_start) - 1, account.n_trades
    figures[0], figures[1] = equity, gross_sum
    figures[2], figures[3], figures[4] = fee_sum, spread_sum, slippage_sum
    figures[5], figures[6] = return_sum, n_trades
    figures[7] = account.wins / n_trades if n_trades > 0 else math.nan
    figures[8] = ratio_of(day_net, n_days) * _YEAR
    figures[9] = ratio_of(book.trade_net, n_trades)
    figures[10] = downside_ratio_of(day_net, n_days) * _YEAR
    figures[11], figures[12] = drawdown, account.turnover
