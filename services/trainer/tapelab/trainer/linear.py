"""The baseline that a model has to beat: logistic (of a regression, ridge) regression on the same features."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

Matrix = npt.NDArray[np.float32]


class Linear(NamedTuple):
    """A logistic or a linear regression over standardised features.

    Args:
        weights: f64 ``(n_features,)``, over the features as they come.
        intercept: f64.
        regression: scores are the numbers themselves; else probabilities.
    """

    weights: npt.NDArray[np.float64]
    intercept: float
    regression: bool = False

    def scores(self, x: Matrix) -> npt.NDArray[np.float64]:
        """Scores, shape ``(n,)``."""
        margin: npt.NDArray[np.float64] = x.astype(np.float64) @ self.weights + self.intercept
        if self.regression:
            return margin
        scores: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-margin))
        return scores


def fit(
    x: Matrix,
    y: npt.NDArray[Any],
    *,
    c: float,
    weight: npt.NDArray[np.float64] | None = None,
    regression: bool = False,
) -> Linear:
    """Fit on training rows; mean and deviation for standardising are theirs.

    Args:
        c: inverse strength of the L2 penalty.
        weight: of the rows; all 1 if left out.
        regression: ``y`` is a number to predict; else it is 1 for up and 0 for down.
    """
    # Threads of the linear algebra that wait for each other on busy cores cost twenty times the work itself.
    with threadpool_limits(limits=1, user_api="blas"):
        scaler = StandardScaler().fit(x.astype(np.float64))
        kind = Ridge(alpha=1.0 / c, solver="cholesky") if regression else LogisticRegression(C=c, max_iter=500)
        model = kind.fit(scaler.transform(x.astype(np.float64)), y, sample_weight=weight)
    weights = np.ravel(model.coef_) / scaler.scale_
    return Linear(weights, float(np.ravel(model.intercept_)[0] - weights @ scaler.mean_), regression)
