"""Sharpe ratios and how much of one is luck.

Sources: Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (2012) for the probabilistic,
"The Deflated Sharpe Ratio" (2014) for the deflated one.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

_NORMAL: Final = NormalDist()
_EULER_MASCHERONI: Final = 0.5772156649015329


def sharpe(x: npt.NDArray[np.float64], *, periods_per_year: float = 1.0) -> float:
    """Mean over standard deviation (n - 1) of returns, times ``sqrt(periods_per_year)``.

    NaN for fewer than two returns or where they do not vary.
    """
    if len(x) < 2:
        return math.nan
    deviation = float(np.std(x, ddof=1))
    # Equal returns leave a rounding residue instead of zero.
    if deviation <= 1e-12 * float(np.max(np.abs(x))):
        return math.nan
    return float(np.mean(x)) / deviation * math.sqrt(periods_per_year)


def probabilistic_sharpe(x: npt.NDArray[np.float64], *, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds a benchmark, given skew and kurtosis of the returns.

    Args:
        x: returns, shape ``(n,)``.
        benchmark: Sharpe ratio per period (not annualised).

    Returns:
        a probability; NaN where the Sharpe ratio is not defined.
    """
    ratio = sharpe(x)
    if math.isnan(ratio):
        return math.nan
    centred = x - np.mean(x)
    variance = float(np.mean(centred**2))
    skew = float(np.mean(centred**3)) / variance**1.5
    kurtosis = float(np.mean(centred**4)) / variance**2
    spread = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    # The expansion of the estimator's variance can turn negative for extreme samples, where it says nothing.
    if spread <= 0.0:
        return math.nan
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(len(x) - 1) / math.sqrt(spread))


def expected_maximum_sharpe(n_trials: int, trials_variance: float) -> float:
    """Expected best Sharpe ratio among unskilled trials whose ratios vary by ``trials_variance``."""
    if n_trials < 1:
        raise ValueError(f"n_trials: expected >= 1, got {n_trials}")
    if n_trials == 1:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
    return math.sqrt(trials_variance) * ((1.0 - _EULER_MASCHERONI) * first + _EULER_MASCHERONI * second)


def deflated_sharpe(x: npt.NDArray[np.float64], *, n_trials: int, trials_variance: float | None = None) -> float:
    """Probability that the true Sharpe ratio is positive, given that the best of n trials was kept.

    Args:
        x: returns of the kept trial, shape ``(n,)``.
        n_trials: independent configurations that were tried; 1 gives the probabilistic Sharpe ratio.
        trials_variance: variance of the trials' per-period Sharpe ratios; by default ``1 / (n - 1)``, their
            variance under no skill.
    """
    if len(x) < 2:
        return math.nan
    variance = 1.0 / (len(x) - 1) if trials_variance is None else trials_variance
    return probabilistic_sharpe(x, benchmark=expected_maximum_sharpe(n_trials, variance))
