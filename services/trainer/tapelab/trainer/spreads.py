"""The spread that a symbol's market orders cross, where an experiment has it estimated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.parts import BacktestConfig
from tapelab.quant.backtest.costs import CostModel
from tapelab.quant.backtest.spreads import corwin_schultz_spread, effective_spread, roll_spread, spread_for_fills
from tapelab.trainer.sources import SymbolTicks


def spread_of(
    item: SymbolTicks,
    counts: npt.NDArray[np.bool_],
    bars: npt.NDArray[np.void],
    costs: CostModel,
    config: BacktestConfig,
) -> npt.NDArray[np.float64] | None:
    """Price units per bar, known when it closes; None where the costs' own spread holds.

    Args:
        counts: which of the prints enter bars.
    """
    if config.spread == "fixed":
        return None
    day = bars["day"].copy()
    if config.spread == "corwin_schultz":
        estimate = corwin_schultz_spread(bars["high"].copy(), bars["low"].copy(), bars["close"].copy(), day)
    else:
        rows = np.flatnonzero(counts)
        seq = rows + item.span.first_seq
        first = np.searchsorted(seq, bars["first_tick_seq"], side="left")
        last = np.searchsorted(seq, bars["last_tick_seq"], side="right") - 1
        price = item.ticks.price[rows]
        if config.spread == "roll":
            estimate = roll_spread(price, first, last, day)
        else:
            estimate = effective_spread(price, item.ticks.aggressor[rows], first, last, day)
    return spread_for_fills(estimate, costs.spread_ticks, costs.tick_size)
