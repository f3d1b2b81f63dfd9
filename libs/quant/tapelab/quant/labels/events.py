"""CUSUM event sampling: learn from the bars at which something had happened."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit

Float64 = npt.NDArray[np.float64]


@njit
def _cusum(change: Any, threshold: Any, fresh: Any, out: Any) -> None:
    up, down = 0.0, 0.0
    for i in range(len(change)):
        out[i] = 0
        if fresh[i]:
            up, down = 0.0, 0.0
            continue
        if not np.isfinite(change[i]):
            continue
        up, down = max(0.0, up + change[i]), min(0.0, down + change[i])
        if up > threshold[i]:
            up, out[i] = 0.0, 1
        elif down < -threshold[i]:
            down, out[i] = 0.0, -1


def cusum_events(close: Float64, day: npt.NDArray[np.int32], threshold: Float64) -> npt.NDArray[np.int8]:
    """Bars at which the move since the last event, less every retreat, passed a threshold.

    Two sums of log returns from bar to bar run, one never below zero and one never above; the one that passes
    ``threshold`` makes the bar an event and starts again at zero. Both start afresh each trading day.

    Args:
        close: closes, shape ``(n,)``; a return of a price that is not finite and above zero is left out.
        day: trading day of each, shape ``(n,)``.
        threshold: log return to pass at each bar, above zero, shape ``(n,)``; no event where it is NaN.

    Returns:
        int8 ``(n,)``: +1 an event after a rise, -1 after a fall, 0 none.

    Raises:
        ValueError: shapes disagree, or a threshold at or below zero.

    Source: Lopez de Prado, "Advances in Financial Machine Learning" (2018), section 2.5.2, after Page (1954).
    """
    if not close.shape == day.shape == threshold.shape or close.ndim != 1:
        raise ValueError(
            f"cusum_events: expected one day and threshold per close, got {close.shape}, {day.shape}, {threshold.shape}"
        )
    if bool((threshold <= 0.0).any()):
        raise ValueError(f"cusum_events: expected thresholds above 0, got {np.nanmin(threshold)!r}")
    out = np.empty(len(close), np.int8)
    if len(close):
        good = (close > 0.0) & np.isfinite(close)
        log_price = np.log(np.where(good, close, np.nan))
        change = np.diff(log_price, prepend=log_price[:1])
        fresh = np.concatenate([[True], day[1:] != day[:-1]])
        _cusum(change, np.ascontiguousarray(threshold, np.float64), fresh, out)
    return out
