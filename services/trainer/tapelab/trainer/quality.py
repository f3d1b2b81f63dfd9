"""How good scores are, apart from money: ranking and calibration of probabilities, errors of predicted returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tapelab.quant.metrics.classification import (
    auc,
    average_precision,
    brier,
    calibration_line,
    logloss,
    reliability,
)
from tapelab.quant.metrics.regression import mae, prediction_line, r2, r2_over_zero, rank_correlation, rmse
from tapelab.quant.metrics.trading import return_by_score
from tapelab.trainer.dataset import Samples

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


def score_quality(samples: Samples, rows: Rows, scores: Floats) -> dict[str, float]:
    """Figures of a classifier on the samples whose price moved; of a regression on all, in the target's unit.

    A regression has ranking figures too: how well its scores part ups from downs.
    """
    moved = samples.moved[rows]
    up, scored = samples.up[rows][moved] > 0, scores[moved]
    if samples.regression:
        truth, likely = samples.target[rows], _as_probability(scored)
        return {
            "rmse": rmse(truth, scores),
            "mae": mae(truth, scores),
            "r2": r2(truth, scores),
            "r2_over_zero": r2_over_zero(truth, scores),
            "rank_correlation": rank_correlation(truth, scores),
            "calibration_slope": prediction_line(truth, scores).slope,
            "auc": auc(up, likely),
            "pr_auc": average_precision(up, likely),
        }
    return {
        "auc": auc(up, scored),
        "pr_auc": average_precision(up, scored),
        "logloss": logloss(up, scored),
        "brier": brier(up, scored),
        "calibration_error": reliability(up, scored).error,
        "calibration_slope": calibration_line(up, scored).slope,
    }


def score_calibration(samples: Samples, rows: Rows, scores: Floats) -> dict[str, Any]:
    """The reliability diagram: of a classifier in bins of probability, of a regression by decile of its scores."""
    if samples.regression:
        truth = samples.target[rows]
        n, low, happened = return_by_score(scores, truth)
        # The same groups again, of the scores themselves.
        predicted = return_by_score(scores, scores).mean_return
        slope, intercept = prediction_line(truth, scores)
        error = float(n @ np.abs(happened - predicted)) / max(1, int(n.sum()))
    else:
        moved = samples.moved[rows]
        up, scored = samples.up[rows][moved] > 0, scores[moved]
        bins = reliability(up, scored)
        low, n, predicted, happened = bins
        error = bins.error
        slope, intercept = calibration_line(up, scored)
    return {
        "bins": [
            {"low": low, "n": n, "predicted": predicted, "happened": happened}
            for low, n, predicted, happened in zip(low, n, predicted, happened, strict=True)
        ],
        "error": error,
        "slope": slope,
        "intercept": intercept,
    }


def _as_probability(scores: Floats) -> Floats:
    """Scores in the order they have, between 0 and 1, for figures that read nothing but the order."""
    values, of = np.unique(scores, return_inverse=True)
    placed: Floats = of / max(1, len(values) - 1)
    return placed
