"""Sharpe ratios and how much of one is luck.

Sources: Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (2012) for the probabilistic ratio
and the minimum track record length, "The Deflated Sharpe Ratio" (2014) for the deflated one.
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
    skew, kurtosis = moments(x)
    return probabilistic_sharpe_of(ratio, len(x), skew=skew, kurtosis=kurtosis, benchmark=benchmark)


def probabilistic_sharpe_of(
    ratio: float, n: int, *, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float:
    """:func:`probabilistic_sharpe` from figures instead of returns.

    Args:
        ratio: Sharpe ratio per period, like the benchmark.
        n: number of returns.
        skew: of the returns.
        kurtosis: of the returns, 3 for normal ones.
        benchmark: Sharpe ratio per period to exceed.

    Returns:
        a probability; NaN for fewer than two returns, or moments that make the estimator's variance negative.
    """
    spread = _spread(ratio, skew, kurtosis)
    # The expansion of the estimator's variance can turn negative for extreme samples, where it says nothing.
    if n < 2 or not spread > 0.0:
        return math.nan
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(n - 1) / math.sqrt(spread))


def minimum_track_record_length(
    ratio: float, *, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0, confidence: float = 0.95
) -> float:
    """How many returns are needed before a Sharpe ratio exceeds a benchmark with some confidence.

    Args:
        ratio: Sharpe ratio per period, like the benchmark.
        skew: of the returns.
        kurtosis: of the returns, 3 for normal ones.
        benchmark: Sharpe ratio per period to exceed.
        confidence: in (0.5, 1).

    Returns:
        a number of periods, fractional; infinity where the ratio does not exceed the benchmark; NaN where the
        ratio is undefined or the moments make the estimator's variance negative.
    """
    if not 0.5 < confidence < 1.0:
        raise ValueError(f"confidence: expected in (0.5, 1), got {confidence}")
    spread = _spread(ratio, skew, kurtosis)
    if not spread > 0.0:
        return math.nan
    if ratio <= benchmark:
        return math.inf
    return 1.0 + spread * (_NORMAL.inv_cdf(confidence) / (ratio - benchmark)) ** 2


def moments(x: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Skew and kurtosis (3 for a normal distribution) of returns; NaN where they do not vary."""
    if math.isnan(sharpe(x)):
        return math.nan, math.nan
    centred = x - np.mean(x)
    variance = float(np.mean(centred**2))
    return float(np.mean(centred**3)) / variance**1.5, float(np.mean(centred**4)) / variance**2


def _spread(ratio: float, skew: float, kurtosis: float) -> float:
    """Variance of the estimated ratio times the number of returns less one."""
    return 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2


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
