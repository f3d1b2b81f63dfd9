"""Passive orders, put to the prefix test: what was filled before a print does not depend on that print."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import BacktestConfig
from tapelab.common.instruments import Instruments
from tapelab.trainer.etl import SymbolData, counting
from tapelab.trainer.orders import orders_of
from tapelab.trainer.sources import SymbolTicks
from tapelab.trainer.strategy import backtest_columns

#: Five lots a position, by orders that wait, fill in parts and join anew.
TRADED: Final = BacktestConfig(orders="limit", queue="2x", patience_s=5.0, lots=5.0)


def scaled(data: SymbolData) -> SymbolData:
    """A symbol whose fills pay by their bars' volatility and lots, so that costs tell which bar they look at."""
    return data._replace(frictions=data.frictions._replace(slippage_volatility=0.5, impact=1.0))


def passive_fills(
    item: SymbolTicks,
    data: SymbolData,
    expected: npt.NDArray[np.float64],
    config: ExperimentConfig,
    instruments: Instruments,
) -> npt.NDArray[np.void]:
    """``FILL_DTYPE`` of passive orders and their costs on some expectations, one per bar."""
    counts, rows = counting(item, instruments), slice(0, len(data.bars))
    orders = orders_of(item.ticks, counts, item.span.first_seq, data.bars, config.latency_ns, TRADED)
    traded = msgspec.structs.replace(config, backtest=TRADED)
    return orders.run(rows, *backtest_columns(scaled(data), rows, expected, traded)).fills


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
