"""Is a mean above zero by more than noise, for a series whose neighbours resemble each other?

Source: Politis and Romano, "The Stationary Bootstrap" (1994).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit

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
    if mean_block < 1 or n_boot < 1:
        raise ValueError(f"expected mean_block >= 1 and n_boot >= 1, got {mean_block} and {n_boot}")
    x = np.ascontiguousarray(x, np.float64)
    if not np.isfinite(x).all():
        raise ValueError(f"x: expected finite values, got {int((~np.isfinite(x)).sum())} that are not")
    n = len(x)
    if n == 0:
        return BootstrapResult(0.0, 0.0, 0.0, 1.0)
    random = np.random.default_rng(seed)
    means = np.empty(n_boot)
    rows = max(1, _CHUNK // n)
    for first in range(0, n_boot, rows):
        size = (min(rows, n_boot - first), n)
        starts = random.integers(0, n, size, dtype=np.int64)
        restarts = random.random(size) < 1.0 / mean_block
        _resampled_means(x, starts, restarts, means[first : first + size[0]])
    mean = float(np.mean(x))
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    # Centring the resamples imposes a true mean of zero; counting the sample itself keeps p above zero.
    at_least = int(np.count_nonzero(means - mean >= mean))
    return BootstrapResult(mean, float(low), float(high), (1 + at_least) / (n_boot + 1))
