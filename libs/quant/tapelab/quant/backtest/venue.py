"""The market that orders meet: messages arrive, orders rest, prints pass by and fill them.

A message carries the position that is wanted. When it arrives, what still rests is cancelled, and an order for
the difference is made, so that nothing is sent twice however many messages are on their way.
"""

from __future__ import annotations

import math
from typing import Any

from tapelab.quant._numba import njit
from tapelab.quant.backtest.account import Book, book_fill
from tapelab.quant.backtest.costs import fill_costs
from tapelab.quant.backtest.orders import passive_price, wait
from tapelab.quant.backtest.print_layout import Run
from tapelab.quant.backtest.prints import first_later


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
    spread = run.bars[order.bar].spread
    width = spread if spread > tick_size else tick_size
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
def pass_until(
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
