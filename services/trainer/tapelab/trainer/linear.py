"""The baseline that a model has to beat: logistic regression on the same features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

Matrix = npt.NDArray[np.float32]


class Linear(NamedTuple):
    """A logistic regression over standardised features.

    Args:
        weights: f64 ``(n_features,)``, over the features as they come.
        intercept: f64.
    """

    weights: npt.NDArray[np.float64]
    intercept: float

    def scores(self, x: Matrix) -> npt.NDArray[np.float64]:
        """Probability of up, shape ``(n,)``."""
        margin = x.astype(np.float64) @ self.weights + self.intercept
        scores: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-margin))
        return scores


def fit(x: Matrix, up: npt.NDArray[np.int8], *, c: float, weight: npt.NDArray[np.float64] | None = None) -> Linear:
    """Fit on training rows; mean and deviation for standardising are theirs.

    Args:
        c: inverse strength of the L2 penalty.
        weight: of the rows; all 1 if left out.
    """
    # Threads of the linear algebra that wait for each other on busy cores cost twenty times the work itself.
    with threadpool_limits(limits=1, user_api="blas"):
        scaler = StandardScaler().fit(x.astype(np.float64))
        model = LogisticRegression(C=c, max_iter=500).fit(
            scaler.transform(x.astype(np.float64)), up, sample_weight=weight
        )
    weights = model.coef_[0] / scaler.scale_
    return Linear(weights, float(model.intercept_[0] - weights @ scaler.mean_))
