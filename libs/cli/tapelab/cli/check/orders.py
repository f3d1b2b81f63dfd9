"""Passive orders, put to the prefix test: what was filled before a print does not depend on that print."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import BacktestConfig
from tapelab.common.instruments import Instruments
from tapelab.quant.bars.rules import eligible
from tapelab.trainer.etl import SymbolData
from tapelab.trainer.orders import orders_of
from tapelab.trainer.sources import SymbolTicks

#: Orders that wait, fill in parts and join anew.
TRADED: Final = BacktestConfig(orders="limit", queue="2x", patience_s=5.0)


def passive_fills(
    item: SymbolTicks,
    data: SymbolData,
    expected: npt.NDArray[np.float64],
    config: ExperimentConfig,
    instruments: Instruments,
) -> npt.NDArray[np.void]:
    """``FILL_DTYPE`` of five lots a position on some expectations, one per bar."""
    symbol, bars = item.span.symbol, data.bars
    counts = eligible(item.ticks, instruments.calendar(symbol), instruments.of(symbol).bar_trade_types)
    orders = orders_of(item.ticks, counts, item.span.first_seq, bars, config.latency_ns, TRADED)
    columns = (
        bars["ts_close_ns"],
        bars["close"],
        data.fill_price,
        bars["day"],
        bars["session_close_ns"],
        data.session_end,
        data.usable,
        expected,
        config.decision_params(0.0),
        data.costs,
        5.0,
    )
    return orders.run(slice(0, len(bars)), columns, {}).fills


def moved_fills(
    before: npt.NDArray[np.void], after: npt.NDArray[np.void], upto: int, n_bars: int
) -> npt.NDArray[np.bool_]:
    """Which bars' orders are filled otherwise at a print before row ``upto``, shape ``(n_bars,)``."""
    rows = [fills[fills["print"] < upto] for fills in (before, after)]
    short = min(len(part) for part in rows)
    moved = np.zeros(n_bars, np.bool_)
    for part in rows:
        moved[part["bar"][short:]] = True
    for one, other in zip(rows[0][:short], rows[1][:short], strict=True):
        moved[one["bar"]] |= one.tobytes() != other.tobytes()
    return moved
