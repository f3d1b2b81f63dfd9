"""The prints that a symbol's orders meet, where an experiment is judged print by print."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.parts import BacktestConfig
from tapelab.quant.backtest.orders import FOREVER_NS, OrderPolicy
from tapelab.quant.backtest.print_engine import PrintBacktest, run_on_prints
from tapelab.quant.backtest.prints import prints_of
from tapelab.quant.ticks import Ticks


class Orders(NamedTuple):
    """What a backtest print by print needs besides the bars; n bars, m prints.

    Args:
        prints: ``PRINT_DTYPE``, those that count.
        last_print: i64 ``(n,)``, row of each bar's last print.
        latency_ns: i64 ``(n,)``.
        ahead: f64 ``(n,)``, lots before an order that joins the best price.
        policy: how orders are worked.
    """

    prints: npt.NDArray[np.void]
    last_print: npt.NDArray[np.int64]
    latency_ns: npt.NDArray[np.int64]
    ahead: npt.NDArray[np.float64]
    policy: OrderPolicy

    def run(self, rows: slice, columns: tuple[Any, ...], named: dict[str, Any]) -> PrintBacktest:
        """Trade some rows; the other arguments are those of ``run_backtest``, whose fills are not looked at."""
        ts_ns, price, _, *market = columns
        return run_on_prints(
            self.prints,
            self.last_print[rows],
            ts_ns,
            price,
            *market,
            policy=self.policy,
            latency_ns=self.latency_ns[rows],
            ahead=self.ahead[rows],
            **named,
        )


def orders_of(
    ticks: Ticks,
    counts: npt.NDArray[np.bool_],
    first_seq: int,
    bars: npt.NDArray[np.void],
    latency_ns: int,
    config: BacktestConfig,
) -> Orders:
    """A symbol's orders.

    Args:
        counts: which of the prints enter bars.
        first_seq: of the first print.
        latency_ns: of every order.
    """
    rows = np.flatnonzero(counts)
    return Orders(
        prints=prints_of(*(column[rows] for column in (ticks.ts_event_ns, ticks.price, ticks.volume, ticks.aggressor))),
        last_print=np.searchsorted(rows + first_seq, bars["last_tick_seq"], side="right") - 1,
        latency_ns=np.full(len(bars), latency_ns, np.int64),
        ahead=lots_ahead(str(config.queue), bars["volume"], bars["n"]),
        policy=OrderPolicy(
            limit=config.orders == "limit",
            patience_ns=FOREVER_NS if config.patience_s is None else round(config.patience_s * 1e9),
            then_market=config.then == "market",
        ),
    )


def lots_ahead(queue: str, volume: npt.NDArray[np.float64], n: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Lots before an order, per bar: a number of lots, or with an ``x`` that many mean prints of the bar.

    A bar without prints takes the mean of the one before it. Where lots come whole, so does what is ahead.
    """
    if not queue.endswith("x"):
        return np.full(len(volume), float(queue))
    filled = np.maximum.accumulate(np.where(n > 0, np.arange(len(n)), 0))
    mean = volume[filled] / np.maximum(n[filled], 1)
    ahead = float(queue[:-1]) * mean
    return np.ceil(ahead) if (volume == np.floor(volume)).all() else ahead
