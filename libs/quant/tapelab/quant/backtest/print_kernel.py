"""One backtest as one loop in the order of events: decisions at bar closes, messages and fills at prints.

The decision rule goes by its target, as inference does; what an order has not filled never changes a decision.
Messages arrive in the order in which they were sent, and an order meets the first print strictly later than its
arrival.
"""

from __future__ import annotations

from typing import Any, Final

from tapelab.quant._numba import njit
from tapelab.quant.backtest.account import Book
from tapelab.quant.backtest.decision import NEVER_NS, Reason, decide
from tapelab.quant.backtest.figures import write_figures
from tapelab.quant.backtest.print_layout import Run
from tapelab.quant.backtest.prints import first_later
from tapelab.quant.backtest.venue import pass_until

_EDGE: Final = int(Reason.EDGE)
_SESSION_END: Final = int(Reason.SESSION_END)
_GAP: Final = int(Reason.GAP)


@njit
def _send(run: Run, message: Any, i: int, reason: int, arrival_ns: int, position: float, last: int) -> bool:
    """Write a message; false where it is a passive order that comes after ``last``, the session's last print."""
    bar, prints = run.bars[i], run.prints
    message.bar, message.reason, message.arrival_ns, message.position = i, reason, arrival_ns, position
    message.limit = run.settings.limit and reason not in (_SESSION_END, _GAP)
    message.last = last
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
        out: ``ROW`` per bar.
        mail: ``MESSAGE``, scratch of a row per bar; ``day_net``: per day.
        account, order, counts: an ``ACCOUNT``, a ``RESTING`` and a ``COUNTS``, all zero.
        figures: row of ``figures.Figure``.
    """
    bars, rules, n = run.bars, run.settings, len(run.bars)
    scale = rules.lots * rules.multiplier
    long_lots, short_lots = min(rules.lots, rules.max_long), min(rules.lots, rules.max_short)
    side, since_ns, changed_ns, arrival_ns = 0, NEVER_NS, NEVER_NS, NEVER_NS
    head, tail, close_ns, last = 0, 0, NEVER_NS, 0
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
                if bar.session_close_ns != close_ns:
                    close_ns = bar.session_close_ns
                    last = first_later(run.prints, bar.last_print, close_ns - 1) - 1
                if _send(run, mail[tail], i, reason, arrival_ns, position, last):
                    tail += 1
            if new != side:
                side, since_ns, changed_ns = new, bar.ts_ns, bar.ts_ns
            elif reason == _EDGE:
                since_ns = bar.ts_ns
            if order.live or head < tail:
                stop = bars[i + 1].last_print if i < n - 1 else len(run.prints) - 1
                head = pass_until(run, account, order, book, counts, price, mail, head, tail, stop)
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
            row = out[i]
            row.side, row.reason, row.gross, row.cost = side, reason, gross_money, paid_money
            row.net_return, row.equity = net_return, equity
        day_net[d] = day_sum
    write_figures(
        figures,
        day_net,
        book.trade_net,
        account.n_trades,
        account.wins,
        rules.days_per_year,
        equity,
        gross_sum,
        fee_sum,
        spread_sum,
        slippage_sum,
        return_sum,
        drawdown,
        account.turnover,
    )


@njit
def markout(prints: Any, fills: Any, horizon_ns: int) -> tuple[float, float]:
    """Of passive fills: lots, and lots times the favourable move from the price got to the horizon's last print."""
    lots, moved = 0.0, 0.0
    for i in range(len(fills)):
        fill = fills[i]
        if fill.maker:
            row = first_later(prints, fill.print, fill.filled_ts_ns + horizon_ns) - 1
            lots += fill.lots
            moved += fill.lots * (fill.side * (prints[row].price - fill.got))
    return lots, moved
