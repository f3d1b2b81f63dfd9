"""Is a mean above zero by more than noise, for a series whose neighbours resemble each other?

Source: Politis and Romano, "The Stationary Bootstrap" (1994). How long blocks should be:
:mod:`tapelab.quant.validation.block_length`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit
from tapelab.quant.validation.sharpe import sharpe

_CHUNK: Final = 1_000_000  # random numbers drawn at once, bounds memory


class BootstrapResult(NamedTuple):
    """A mean and what the bootstrap says about it.

    Args:
        mean: of the series.
        low: lower end of the percentile interval.
        high: upper end.
        p_value: probability of a mean at least as large if the true mean were zero; 1 for an empty series.
    """

    mean: float
    low: float
    high: float
    p_value: float


@njit
def _resampled_means(x: Any, starts: Any, restarts: Any, out: Any) -> None:
    """Mean of every resample: walk on cyclically, jump to a random place where a restart is drawn."""
    n_boot, n = starts.shape
    for b in range(n_boot):
        total, at = 0.0, 0
        for i in range(n):
            if i == 0 or restarts[b, i]:
                at = starts[b, i]
            else:
                at = at + 1 if at + 1 < n else 0
            total += x[at]
        out[b] = total / n


@njit
def _resampled_ratios(x: Any, starts: Any, restarts: Any, out: Any) -> None:
    """Sharpe ratio of every resample, NaN where it does not vary; ``x`` in units of its spread."""
    n_boot, n = starts.shape
    for b in range(n_boot):
        # Running mean and sum of squared deviations (Welford), so that a large mean costs no digits.
        mean, squares, at = 0.0, 0.0, 0
        for i in range(n):
            if i == 0 or restarts[b, i]:
                at = starts[b, i]
            else:
                at = at + 1 if at + 1 < n else 0
            off = x[at] - mean
            mean += off / (i + 1)
            squares += off * (x[at] - mean)
        deviation = np.sqrt(squares / (n - 1))
        out[b] = mean / deviation if deviation > 1e-12 * abs(mean) else np.nan


class SharpeInterval(NamedTuple):
    """A Sharpe ratio per period and its percentile interval; NaN where it is not defined."""

    ratio: float
    low: float
    high: float


def stationary_bootstrap_sharpe_ci(
    x: npt.NDArray[np.float64], *, seed: int, n_boot: int = 2000, mean_block: float, level: float = 0.95
) -> SharpeInterval:
    """Confidence interval of a series' Sharpe ratio, without assuming normal or independent returns.

    Args:
        x: returns in time order, shape ``(n,)``, finite.
        seed: of the resampling; the result is a function of the arguments alone.
        n_boot: resamples; those that do not vary are left out.
        mean_block: mean block length in observations, >= 1.
        level: of the interval.

    Raises:
        ValueError: a mean block below 1, no resamples, or values that are not finite.
    """
    x = _checked(x, mean_block, n_boot)
    ratio = sharpe(x)
    if math.isnan(ratio):
        return SharpeInterval(math.nan, math.nan, math.nan)
    ratios = _resample(_resampled_ratios, x / np.std(x), seed, n_boot, mean_block)
    ratios = ratios[np.isfinite(ratios)]
    if not len(ratios):
        return SharpeInterval(ratio, math.nan, math.nan)
    low, high = np.quantile(ratios, ((1 - level) / 2, (1 + level) / 2))
    return SharpeInterval(ratio, float(low), float(high))


def stationary_bootstrap_mean_ci(
    x: npt.NDArray[np.float64],
    *,
    seed: int,
    n_boot: int = 2000,
    mean_block: float,
    level: float = 0.95,
) -> BootstrapResult:
    """Confidence interval of a series' mean, and the p-value of its being at most zero.

    Blocks have geometric lengths with the given mean, so short-range dependence survives resampling. Pass
    the difference of two series for a paired comparison.

    Args:
        x: the series in time order, shape ``(n,)``, finite.
        seed: of the resampling; the result is a function of the arguments alone.
        n_boot: resamples.
        mean_block: mean block length in observations, >= 1.
        level: of the interval.

    Raises:
        ValueError: a mean block below 1, no resamples, or values that are not finite.
    """
    x = _checked(x, mean_block, n_boot)
    if len(x) == 0:
        return BootstrapResult(0.0, 0.0, 0.0, 1.0)
    means = _resample(_resampled_means, x, seed, n_boot, mean_block)
    mean = float(np.mean(x))
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    # Centring the resamples imposes a true mean of zero; counting the sample itself keeps p above zero.
    at_least = int(np.count_nonzero(means - mean >= mean))
    return BootstrapResult(mean, float(low), float(high), (1 + at_least) / (n_boot + 1))


def _resample(
    kernel: Callable[..., None], x: npt.NDArray[np.float64], seed: int, n_boot: int, mean_block: float
) -> npt.NDArray[np.float64]:
    """One figure per resample."""
    n, random, figures = len(x), np.random.default_rng(seed), np.empty(n_boot)
    rows = max(1, _CHUNK // n)
    for first in range(0, n_boot, rows):
        size = (min(rows, n_boot - first), n)
        starts = random.integers(0, n, size, dtype=np.int64)
        restarts = random.random(size) < 1.0 / mean_block
        kernel(x, starts, restarts, figures[first : first + size[0]])
    return figures


def _checked(x: npt.NDArray[np.float64], mean_block: float, n_boot: int) -> npt.NDArray[np.float64]:
    if mean_block < 1 or n_boot < 1:
        raise ValueError(f"expected mean_block >= 1 and n_boot >= 1, got {mean_block} and {n_boot}")
    x = np.ascontiguousarray(x, np.float64)
    if not np.isfinite(x).all():
        raise ValueError(f"x: expected finite values, got {int((~np.isfinite(x)).sum())} that are not")
    return x
