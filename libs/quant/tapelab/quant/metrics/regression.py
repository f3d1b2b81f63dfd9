"""How well predicted numbers match what happened, in size and in order.

Every function takes ``truth`` and ``predicted``, finite, of shape ``(n,)``; a figure that is not defined is NaN.

Sources: Campbell and Thompson, "Predicting Excess Stock Returns Out of Sample" (2008) for the share explained
beyond a naive forecast, here zero; Spearman, "The Proof and Measurement of Association between Two Things" (1904);
Mincer and Zarnowitz, "The Evaluation of Economic Forecasts" (1969) for the line.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def rmse(truth: Floats, predicted: Floats) -> float:
    """Root of the mean squared error; NaN for no samples."""
    error = _error(truth, predicted)
    return math.sqrt(float(np.mean(error * error))) if len(error) else math.nan


def mae(truth: Floats, predicted: Floats) -> float:
    """Mean absolute error; NaN for no samples."""
    error = _error(truth, predicted)
    return float(np.mean(np.abs(error))) if len(error) else math.nan


def r2(truth: Floats, predicted: Floats) -> float:
    """Share of the variance around the mean that is explained; NaN where the truth does not vary."""
    error = _error(truth, predicted)
    # Equal numbers leave a rounding residue around their mean.
    return _explained(error, truth - np.mean(truth)) if len(error) and np.ptp(truth) > 0.0 else math.nan


def r2_over_zero(truth: Floats, predicted: Floats) -> float:
    """Share of the squares that is explained beyond a forecast of zero; NaN where the truth is zero throughout."""
    return _explained(_error(truth, predicted), truth)


def rank_correlation(truth: Floats, predicted: Floats) -> float:
    """Spearman's: the correlation of ranks, equal values sharing their mean rank; NaN where either does not vary."""
    _error(truth, predicted)
    if len(truth) < 2:
        return math.nan
    left, right = _ranks(truth), _ranks(predicted)
    if not np.ptp(left) or not np.ptp(right):
        return math.nan
    left, right = left - left.mean(), right - right.mean()
    return float(left @ right) / math.sqrt(float(left @ left) * float(right @ right))


class PredictionLine(NamedTuple):
    """What happened as a line over what was predicted: slope 1 and intercept 0 are perfect."""

    slope: float
    intercept: float


def prediction_line(truth: Floats, predicted: Floats) -> PredictionLine:
    """Least squares of the truth on the prediction; NaN where the prediction does not vary."""
    _error(truth, predicted)
    if len(truth) < 2:
        return PredictionLine(math.nan, math.nan)
    centred = predicted - predicted.mean()
    power = float(centred @ centred)
    if not power > 0.0 or float(np.max(np.abs(centred))) <= 1e-12 * float(np.max(np.abs(predicted))):
        return PredictionLine(math.nan, math.nan)
    slope = float(centred @ truth) / power
    return PredictionLine(slope, float(truth.mean() - slope * predicted.mean()))


def _ranks(x: Floats) -> Floats:
    """Twice the mean rank among equals, less one."""
    _, of, count = np.unique(x, return_inverse=True, return_counts=True)
    ranks: Floats = (2 * np.cumsum(count) - count)[of].astype(np.float64)
    return ranks


def _explained(error: Floats, around: Floats) -> float:
    total = float(around @ around)
    return 1.0 - float(error @ error) / total if total > 0.0 else math.nan


def _error(truth: Floats, predicted: Floats) -> Floats:
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(f"expected one prediction per number, got shapes {truth.shape} and {predicted.shape}")
    if not (np.isfinite(truth).all() and np.isfinite(predicted).all()):
        raise ValueError("expected finite numbers and predictions, got some that are not")
    return truth - predicted
