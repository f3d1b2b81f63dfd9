"""The backtest print by print: the live decision rule over bars, market and passive orders over prints."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant.backtest.account import ACCOUNT, FILL_DTYPE, Book
from tapelab.quant.backtest.costs import CostModel, Frictions, round_trip_cost_fractions
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.figures import N_FIGURES
from tapelab.quant.backtest.orders import OrderPolicy
from tapelab.quant.backtest.print_kernel import markout, simulate_prints
from tapelab.quant.backtest.print_layout import BAR, COUNTS, MESSAGE, RESTING, ROW, SETTINGS, Run
from tapelab.quant.backtest.prints import PRINT_DTYPE
from tapelab.quant.backtest.results import TRADE_DTYPE, BacktestResult, kpis_of
from tapelab.quant.backtest.setup import refuse_settings
from tapelab.quant.calendar import TRADING_DAYS_PER_YEAR

_WITHOUT = Frictions()
_MARKET = OrderPolicy()
SECOND_NS = 1_000_000_000


class OrderKpis(NamedTuple):
    """What became of the orders; NaN where there is nothing to divide by.

    Args:
        n_fills: of whole orders and of parts.
        fills_at_last_print: those for which no print came between the arrival and the session's end, and which took
            the session's last one, out before the order was there.
        n_passive: passive orders that came to rest, those that joined anew at another price among them.
        fill_ratio: lots filled passively over lots of passive orders.
        maker_share: lots filled passively over all lots filled.
        wait_s: mean time in the market of the lots filled passively.
        markout_1s, markout_10s: mean move from the price got to the last print 1 s and 10 s after a passive
            fill, in ticks and in the order's favour: negative where those who traded with us knew better.
        shortfall: what all lots paid beyond the prices asked, currency, fees aside (Perold, "The implementation
            shortfall: paper versus reality", 1988).
    """

    n_fills: int
    fills_at_last_print: int
    n_passive: int
    fill_ratio: float
    maker_share: float
    wait_s: float
    markout_1s: float
    markout_10s: float
    shortfall: float


class PrintBacktest(NamedTuple):
    """One symbol's backtest print by print.

    Args:
        result: as of the backtest bar by bar; a fill is booked at the last bar that closed before it.
        fills: ``FILL_DTYPE``, in time order.
        orders: what became of the orders.
    """

    result: BacktestResult
    fills: npt.NDArray[np.void]
    orders: OrderKpis


def run_on_prints(
    prints: npt.NDArray[np.void],
    last_print: npt.ArrayLike,
    ts_ns: npt.ArrayLike,
    price: npt.ArrayLike,
    day: npt.ArrayLike,
    session_close_ns: npt.ArrayLike,
    session_end: npt.ArrayLike,
    usable: npt.ArrayLike,
    expected_return: npt.ArrayLike,
    params: DecisionParams,
    costs: CostModel,
    position_lots: float = 1,
    *,
    policy: OrderPolicy = _MARKET,
    latency_ns: npt.ArrayLike = 0,
    ahead: npt.ArrayLike = 0.0,
    frictions: Frictions = _WITHOUT,
    spread: npt.ArrayLike | None = None,
    volatility: npt.ArrayLike | None = None,
    volume: npt.ArrayLike | None = None,
    days_per_year: float = TRADING_DAYS_PER_YEAR,
) -> PrintBacktest:
    """Trade one symbol's bars by the live decision rule, with orders that meet its prints.

    Market orders trade whole at the first print strictly after they arrive, or at the session's last one: with a
    fixed latency, the fills, trades and their figures are those of ``engine.run_backtest`` over
    ``fills.fills_after_latency`` to the bit, and so is the equity where every fill comes before the next bar
    closes. ``orders`` states what is assumed of passive ones.

    Args:
        prints: those that count (``prints.prints_of``).
        last_print: row of each bar's last print, shape ``(n,)``, non-decreasing.
        ts_ns, price, day, session_close_ns, session_end, usable, expected_return, params, costs, position_lots,
            frictions, spread, volatility, volume, days_per_year: as in ``engine.run_backtest``.
        policy: how orders are worked.
        latency_ns: from decision to market, >= 0; one for all, or one per bar.
        ahead: lots before a passive order that joins the best price, >= 0, inf where it is never reached; one for
            all, or one per bar, known when the bar closes.

    Raises:
        ValueError: shapes disagree, a price is not finite, a number is out of its range, a bar's last print lies
            outside its session, or a column that the frictions need is missing.
    """
    run, days = _set_up(
        prints,
        (last_print, ts_ns, price, day, session_close_ns, session_end, usable, expected_return, latency_ns, ahead),
        (params, costs, frictions, policy, position_lots, days_per_year),
        (spread, volatility, volume),
    )
    n = len(run.bars)
    starts = np.r_[np.flatnonzero(np.diff(days, prepend=days[:1] - 1)), n] if n else np.zeros(1, np.int64)
    # Room for more fills than runs mostly make; what is not written to takes no memory.
    done = _simulate(run, starts, 2 * n)
    if done.counts["fills"] > len(done.book.fills):
        done = _simulate(run, starts, int(done.counts["fills"]))
    trades, fills = done.book.trades[: done.account["n_trades"]].copy(), done.book.fills[: done.counts["fills"]].copy()
    side, reason, gross, cost, net_return, equity = (np.ascontiguousarray(done.rows[name]) for name in ROW.names or ())
    result = BacktestResult(
        side=side,
        reason=reason,
        gross=gross,
        cost=cost,
        net=gross - cost,
        net_return=net_return,
        equity=equity,
        drawdown=np.maximum(np.maximum.accumulate(equity), 0.0) - equity,
        trades=trades,
        days=days[starts[:-1]],
        day_net=done.day_net,
        kpis=kpis_of(done.figures),
    )
    return PrintBacktest(result, fills, _order_kpis(run, fills, done.counts))


class _Done(NamedTuple):
    rows: npt.NDArray[np.void]
    account: Any
    book: Book
    counts: Any
    day_net: npt.NDArray[np.float64]
    figures: npt.NDArray[np.float64]


def _simulate(run: Run, starts: npt.NDArray[np.int64], n_fills: int) -> _Done:
    n = len(run.bars)
    account, order, counts = np.zeros(1, ACCOUNT), np.zeros(1, RESTING), np.zeros(1, COUNTS)
    done = _Done(
        rows=np.zeros(n, ROW),
        account=account[0],
        book=Book(np.zeros(n, TRADE_DTYPE), np.zeros(n_fills, FILL_DTYPE), np.empty(n)),
        counts=counts[0],
        day_net=np.empty(len(starts) - 1),
        figures=np.empty(N_FIGURES),
    )
    mail = np.empty(n, MESSAGE)
    simulate_prints(
        run, starts, done.rows, mail, account[0], order[0], done.book, counts[0], done.day_net, done.figures
    )
    return done


def _set_up(
    prints: npt.NDArray[np.void], columns: tuple[npt.ArrayLike, ...], settings: tuple[Any, ...], extra: tuple[Any, ...]
) -> tuple[Run, npt.NDArray[np.int32]]:
    """Rows of the kernel's types and each bar's day, and everything refused that the kernel must not meet."""
    params, costs, frictions, policy, lots, days_per_year = settings
    shape = np.shape(columns[1])
    names = ("last_print", "ts_ns", "price", "day", "session_close_ns", "session_end", "usable", "expected_return")
    given = dict(zip((*names, "latency_ns", "ahead"), columns, strict=True))
    given |= {
        name: column
        for name, column in zip(("spread", "volatility", "volume"), extra, strict=True)
        if column is not None
    }
    bars = np.zeros(shape, BAR)
    bars["spread"] = costs.spread_ticks * costs.tick_size
    days = np.asarray(given["day"], np.int32)
    for name, column in given.items():
        if np.shape(column) != shape and not (name in ("latency_ns", "ahead") and np.ndim(column) == 0):
            raise ValueError(f"{name}: expected shape {shape} like ts_ns, got {np.shape(column)}")
        if name != "day":
            bars[name] = column
    bars["cost_fraction"] = round_trip_cost_fractions(bars["price"], costs)
    checks = (
        ("price", np.isfinite(bars["price"]), "finite prices"),
        ("latency_ns", bars["latency_ns"] >= 0, ">= 0"),
        ("ahead", bars["ahead"] >= 0.0, "lots >= 0"),
    )
    for name, good, expected in checks:
        if not good.all():
            raise ValueError(f"{name}: expected {expected}, got {bars[name][~good][0]}")
    refuse_settings(lots, days_per_year, frictions, given)
    if not policy.patience_ns > 0:
        raise ValueError(f"patience_ns: expected > 0, got {policy.patience_ns}")
    if prints.dtype != PRINT_DTYPE:
        raise ValueError(f"prints: expected rows of prints_of, got {prints.dtype}")
    _check_rows(prints, bars)
    rules = np.zeros(1, SETTINGS)
    for part in (params, costs, frictions, policy):
        for name, value in part._asdict().items():
            rules[name] = value
    rules["lots"], rules["days_per_year"] = lots, days_per_year
    return Run(bars, prints, rules[0]), days


def _check_rows(prints: npt.NDArray[np.void], bars: npt.NDArray[np.void]) -> None:
    rows, m = bars["last_print"], len(prints)
    if not len(rows):
        return
    if rows.min() < 0 or rows.max() >= m or (np.diff(rows) < 0).any():
        raise ValueError(f"last_print: expected rows of {m} prints, not going back, got {rows}")
    seen_ns, close_ns = prints["ts_ns"][rows], bars["session_close_ns"]
    late = seen_ns >= close_ns
    if late.any():
        raise ValueError(
            f"last_print: expected prints before the session's close, got one at {seen_ns[late][0]} of a session "
            f"that closes at {close_ns[late][0]}"
        )


def _order_kpis(run: Run, fills: npt.NDArray[np.void], counts: Any) -> OrderKpis:
    def ratio(part: float, whole: float) -> float:
        return float(part) / float(whole) if whole > 0.0 else math.nan

    beyond = fills["side"] * (fills["got"] - fills["asked"]) * fills["lots"]
    tick_size = run.settings["tick_size"]
    marked = [markout(run.prints, fills, horizon_s * SECOND_NS) for horizon_s in (1, 10)]
    return OrderKpis(
        n_fills=len(fills),
        fills_at_last_print=int(np.count_nonzero(fills["filled_ts_ns"] <= fills["arrived_ts_ns"])),
        n_passive=int(counts["passive_orders"]),
        fill_ratio=ratio(counts["maker_lots"], counts["passive_lots"]),
        maker_share=ratio(counts["maker_lots"], counts["maker_lots"] + counts["taker_lots"]),
        wait_s=ratio(counts["waited_lot_s"], counts["maker_lots"]),
        markout_1s=ratio(marked[0][1] / tick_size, marked[0][0]),
        markout_10s=ratio(marked[1][1] / tick_size, marked[1][0]),
        shortfall=float(beyond.sum() * run.settings["multiplier"]),
    )
