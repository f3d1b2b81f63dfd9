"""How well probabilities of "up" rank and how far they can be taken at their word.

Every function takes ``up`` (true where the event happened) and ``score`` (its probability as predicted), both
of shape ``(n,)``, in any order; a figure that is not defined is NaN. Ties in the scores are treated as one
threshold, so that no figure depends on the order of the samples.

Sources: Fawcett, "An introduction to ROC analysis" (2006); Davis and Goadrich, "The relationship between
Precision-Recall and ROC curves" (2006); Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities
Using Bayesian Binning" (2015) for the expected calibration error; Cox, "Two further applications of a model for
binary regression" (1958) for the calibration line.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

#: Scores are kept this far from 0 and 1 before a logarithm, as scikit-learn does for float64.
_EPSILON: Final = float(np.finfo(np.float64).eps)
_STEPS: Final = 100


def auc(up: Bools, score: Floats) -> float:
    """Area under the ROC curve: how often an up scores above a down, ties counting half.

    NaN unless both happened.
    """
    up, score = _checked(up, score)
    n_up = int(up.sum())
    n_down = len(up) - n_up
    if not n_up or not n_down:
        return math.nan
    _, of, count = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    # Twice the mean rank among equals is whole, so the sum is exact and free of order.
    twice = (2 * last - count + 1)[of]
    return (int(twice[up].sum()) - n_up * (n_up + 1)) / (2 * n_up * n_down)


def average_precision(up: Bools, score: Floats) -> float:
    """Area under the precision-recall curve, by steps: the mean over ups of the precision where each is found.

    NaN where nothing was up.
    """
    up, score = _checked(up, score)
    if not up.any():
        return math.nan
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(up) - 1)
    found = np.cumsum(up[order])[ends]
    precision = found / (ends + 1)
    return float(np.sum(np.diff(found, prepend=0) * precision)) / int(found[-1])


def logloss(up: Bools, score: Floats) -> float:
    """Mean negative logarithm (natural) of the probability given to what happened; NaN for no samples."""
    up, score = _checked(up, score)
    if not len(up):
        return math.nan
    clipped = np.clip(score, _EPSILON, 1.0 - _EPSILON)
    return -float(np.mean(np.log(np.where(up, clipped, 1.0 - clipped))))


def brier(up: Bools, score: Floats) -> float:
    """Mean squared distance of the probability from what happened; NaN for no samples."""
    up, score = _checked(up, score)
    return float(np.mean((score - up) ** 2)) if len(up) else math.nan


class Reliability(NamedTuple):
    """Scores in bins of equal width; only bins that hold any, in order.

    Args:
        low: lower edge of the bin, which it includes; the last bin includes 1.
        n: samples.
        predicted: mean score.
        happened: share that went up.
    """

    low: Floats
    n: npt.NDArray[np.int64]
    predicted: Floats
    happened: Floats

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of what happened from what was predicted; NaN if empty."""
        if not len(self.n):
            return math.nan
        return float(self.n @ np.abs(self.happened - self.predicted)) / int(self.n.sum())


def reliability(up: Bools, score: Floats, *, n_bins: int = 10) -> Reliability:
    """The reliability diagram: what was predicted against what happened."""
    if n_bins < 1:
        raise ValueError(f"n_bins: expected >= 1, got {n_bins}")
    up, score = _checked(up, score)
    of = np.minimum((score * n_bins).astype(np.int64), n_bins - 1)
    count = np.bincount(of, minlength=n_bins)
    held = np.flatnonzero(count)
    predicted = np.bincount(of, weights=score, minlength=n_bins)[held] / count[held]
    happened = np.bincount(of, weights=up, minlength=n_bins)[held] / count[held]
    return Reliability(held / n_bins, count[held].astype(np.int64), predicted, happened)


class CalibrationLine(NamedTuple):
    """Log-odds of what happened as a line over the predicted ones: slope 1 and intercept 0 are perfect.

    A slope below 1 means scores that are too extreme.
    """

    slope: float
    intercept: float


def calibration_line(up: Bools, score: Floats) -> CalibrationLine:
    """Logistic regression of what happened on the predicted log-odds, by Newton's method.

    NaN where it has no finite solution: one outcome only, scores that do not vary, or that part ups from downs.
    """
    up, score = _checked(up, score)
    nothing = CalibrationLine(math.nan, math.nan)
    clipped = np.clip(score, _EPSILON, 1.0 - _EPSILON)
    odds = np.log(clipped) - np.log1p(-clipped)
    if not up.any() or up.all() or float(np.ptp(odds)) <= 1e-9 or _parted(up, odds):
        return nothing
    # Standardised, so that Newton's steps are well conditioned whatever the scores' spread.
    centre, spread = float(np.mean(odds)), float(np.std(odds))
    x = (odds - centre) / spread
    slope = 0.0
    level = math.log(up.sum() / (len(up) - up.sum()))
    loss = _line_loss(up, x, slope, level)
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-(slope * x + level)))
        off, weight = up - p, p * (1.0 - p)
        a, b, c = float(weight @ (x * x)), float(weight @ x), float(weight.sum())
        determinant = a * c - b * b
        if not determinant > 0.0:
            return nothing
        g, h = float(off @ x), float(off.sum())
        step, shift = (c * g - b * h) / determinant, (a * h - b * g) / determinant
        size = 1.0
        while size > 1e-6 and _line_loss(up, x, slope + size * step, level + size * shift) > loss:
            size /= 2.0
        slope, level = slope + size * step, level + size * shift
        loss = min(loss, _line_loss(up, x, slope, level))
        if abs(step) + abs(shift) <= 1e-10 * (1.0 + abs(slope) + abs(level)):
            break
    return CalibrationLine(slope / spread, level - slope * centre / spread)


def _line_loss(up: Bools, x: Floats, slope: float, level: float) -> float:
    z = slope * x + level
    return float(np.sum(np.logaddexp(0.0, z) - up * z))


def _parted(up: Bools, odds: Floats) -> bool:
    """Whether a threshold parts ups from downs, so that the steepest line is the best."""
    return bool(odds[up].min() >= odds[~up].max() or odds[up].max() <= odds[~up].min())


def _checked(up: Bools, score: Floats) -> tuple[Bools, Floats]:
    up, score = np.asarray(up, np.bool_), np.asarray(score, np.float64)
    if up.shape != score.shape or up.ndim != 1:
        raise ValueError(f"expected one score per sample, got shapes {up.shape} and {score.shape}")
    if not ((score >= 0.0) & (score <= 1.0)).all():
        outside = int((~((score >= 0.0) & (score <= 1.0))).sum())
        raise ValueError(f"score: expected probabilities in [0, 1], got {outside} that are not")
    return up, score
