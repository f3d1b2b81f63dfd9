"""Volatility of a bar's return as known at its close: the unit of barriers and of event thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@njit
def _ewm(close: Any, day: Any, keep: float, minimum: int, out: Any) -> None:
    weight, total, seen = 0.0, 0.0, 0
    for i in range(len(close)):
        if i > 0 and day[i] != day[i - 1]:
            weight, total, seen = 0.0, 0.0, 0
        elif i > 0 and close[i - 1] > 0.0 and close[i] > 0.0 and np.isfinite(close[i - 1]) and np.isfinite(close[i]):
            change = close[i] / close[i - 1] - 1.0
            total = keep * total + change * change
            weight = keep * weight + 1.0
            seen += 1
        out[i] = np.sqrt(total / weight) if seen >= minimum else np.nan


def ewm_volatility(
    close: Float64, day: npt.NDArray[np.int32], *, half_life: float = 50.0, minimum: int = 20
) -> Float64:
    """Root of the exponentially weighted mean of squared returns from bar to bar, the bar itself included.

    It starts afresh each trading day, so that a day can be recomputed alone. A return needs two finite prices
    above zero; one without is left out.

    Args:
        close: closes, shape ``(n,)``.
        day: trading day of each, shape ``(n,)``.
        half_life: returns after which a weight has halved, positive.
        minimum: returns of the day that are needed, at least 1.

    Returns:
        float64 ``(n,)``, a fraction of the price; NaN before ``minimum`` returns.

    Raises:
        ValueError: shapes disagree, or a parameter is out of range.

    Source: Lopez de Prado, "Advances in Financial Machine Learning" (2018), section 3.3, with bars for days.
    """
    if close.shape != day.shape or close.ndim != 1:
        raise ValueError(f"ewm_volatility: expected one day per close, got shapes {close.shape} and {day.shape}")
    if not 0.0 < half_life < np.inf or minimum < 1:
        raise ValueError(f"ewm_volatility: expected half_life > 0 and minimum >= 1, got {half_life} and {minimum}")
    out = np.empty(len(close))
    days = np.ascontiguousarray(day, np.int64)
    _ewm(np.ascontiguousarray(close, np.float64), days, float(0.5 ** (1.0 / half_life)), int(minimum), out)
    return out
