"""What a return is worth: targets for a regression, over the spans of any label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant.labels.fixed_horizon import Float64, Int64, Labels


class Targets(NamedTuple):
    """Numbers to predict; every array has shape ``(n,)`` and is NaN where the label is not valid.

    Args:
        log_return: float64, from entry to exit.
        ticks: float64, the move in ticks of the instrument.
        net: float64, the part of the simple return that a round trip's cost leaves to whoever took its
            direction: ``sign(r) * max(|r| - cost, 0)``.
        ts_end_ns: int64, when the target is known: the span to purge ends here.
        valid: bool.
    """

    log_return: Float64
    ticks: Float64
    net: Float64
    ts_end_ns: Int64
    valid: npt.NDArray[np.bool_]


def regression_targets(labels: Labels, entry_price: Float64, cost: Float64, tick_size: float) -> Targets:
    """Targets over the spans of ``labels`` (5 s, 30 s, 50 trades or to a barrier).

    Args:
        labels: n labels.
        entry_price: price of each entry, shape ``(n,)``; read where the label is valid.
        cost: of a round trip, as a fraction of the price (``backtest.costs``), shape ``(n,)``, not negative.
        tick_size: price units per tick, positive.

    Raises:
        ValueError: shapes disagree, a negative cost or no tick size.
    """
    n = len(labels.ret)
    if entry_price.shape != (n,) or cost.shape != (n,):
        raise ValueError(f"expected {n} entry prices and costs, got shapes {entry_price.shape} and {cost.shape}")
    if not 0.0 < tick_size < np.inf or bool((cost < 0.0).any()):
        raise ValueError(f"expected a tick size above 0 and costs not below, got {tick_size!r} and {cost.min()!r}")
    gross = np.where(labels.valid, np.expm1(labels.ret), np.nan)
    return Targets(
        log_return=labels.ret.copy(),
        ticks=gross * entry_price / tick_size,
        net=np.sign(gross) * np.maximum(np.abs(gross) - cost, 0.0),
        ts_end_ns=labels.ts_end_ns.copy(),
        valid=labels.valid.copy(),
    )
