"""How many independent trials a number of correlated ones are worth.

Variants of one idea earn much the same returns; the luck of the best of a hundred near copies is that of a few.
With ``n`` trials whose returns correlate by ``rho`` on average, the number is ``rho + (1 - rho) * n``: ``n`` where
they have nothing in common, 1 where they are one and the same. What is not known counts as having nothing in
common, and an average below zero as zero, so that the number is never smaller than what was seen allows. Where
trials come in groups of copies, the average correlation sees less than the groups do, and the number stays above
theirs.

Source: Bailey and Lopez de Prado, "The Deflated Sharpe Ratio" (2014), appendix A.3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Returns that two series must share before their correlation says something.
MIN_SHARED = 30


def effective_trials(n_trials: int, correlation: npt.NDArray[np.float64]) -> float:
    """The number of independent trials, between 1 and ``n_trials``.

    Args:
        n_trials: how many there were, >= 1.
        correlation: of the returns of those that are known, shape ``(k, k)`` with ``k <= n_trials``, symmetric; NaN
            where a pair's is not known. The diagonal is not read.

    Raises:
        ValueError: no trials, more known than there are, or a correlation outside [-1, 1].
    """
    k = len(correlation)
    if n_trials < 1 or correlation.shape != (k, k) or k > n_trials:
        raise ValueError(
            f"expected at least 1 trial and a square of at most {n_trials} known ones, got {correlation.shape}"
        )
    pairs = correlation[np.triu_indices(k, 1)]
    known = pairs[~np.isnan(pairs)]
    # Rounding may carry the correlation of copies a little beyond 1.
    if len(known) and float(np.max(np.abs(known))) > 1.0 + 1e-9:
        raise ValueError(f"expected correlations in [-1, 1], got {known[np.argmax(np.abs(known))]!r}")
    if n_trials == 1:
        return 1.0
    rho = float(known.sum()) / (n_trials * (n_trials - 1) / 2)
    rho = min(1.0, max(0.0, rho))
    return rho + (1.0 - rho) * n_trials


def correlation_of(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Pearson's correlation of two series of returns; NaN for fewer than ``MIN_SHARED`` or where one does not vary."""
    if x.shape != y.shape:
        raise ValueError(f"expected series of one length, got shapes {x.shape} and {y.shape}")
    if len(x) < MIN_SHARED or not np.ptp(x) > 0.0 or not np.ptp(y) > 0.0:
        return float("nan")
    left, right = x - x.mean(), y - y.mean()
    found = float(left @ right) / float(np.sqrt((left @ left) * (right @ right)))
    return min(1.0, max(-1.0, found))
