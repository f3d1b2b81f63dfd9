"""How long the stationary bootstrap's blocks should be, from the series itself.

Sources: Politis and White, "Automatic Block-Length Selection for the Dependent Bootstrap" (2004), with the
correction of Patton, Politis and White (2009).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def automatic_block_length(x: npt.NDArray[np.float64]) -> float:
    """Mean block length that minimises the error of the bootstrapped variance of the mean.

    Autocorrelations count up to twice the first lag after which ``max(5, sqrt(log10 n))`` in a row are
    insignificant, weighted by a flat-top window; the length grows with the cube root of the sample.

    Args:
        x: the series in time order, shape ``(n,)``, finite.

    Returns:
        in observations, between 1 and ``min(3 sqrt(n), n / 3)``; 1 for a series that does not vary or has
        fewer than ten values.

    Raises:
        ValueError: values that are not finite.
    """
    x = np.asarray(x, np.float64)
    if not np.isfinite(x).all():
        raise ValueError(f"x: expected finite values, got {int((~np.isfinite(x)).sum())} that are not")
    n = len(x)
    centred = x - np.mean(x) if n else x
    if n < 10 or float(np.max(np.abs(centred))) <= 1e-12 * float(np.max(np.abs(x))):
        return 1.0
    in_a_row = max(5, math.ceil(math.sqrt(math.log10(n))))
    longest = min(math.ceil(math.sqrt(n)) + in_a_row, n - 1)
    # In units of the spread, so that tiny returns do not underflow when squared twice.
    centred = centred / np.max(np.abs(centred))
    covariance = np.array([float(centred[lag:] @ centred[: n - lag]) / n for lag in range(longest + 1)])
    significant = np.abs(covariance[1:] / covariance[0]) >= 2.0 * math.sqrt(math.log10(n) / n)
    last = min(2 * max(_quiet_after(significant, in_a_row), 1), longest)
    lags = np.arange(1, last + 1)
    window = np.minimum(1.0, 2.0 * (1.0 - lags / last))
    spectrum = covariance[0] + 2.0 * float(window @ covariance[1 : last + 1])
    slope = 2.0 * float(window @ (lags * covariance[1 : last + 1]))
    if spectrum <= 0.0:
        return 1.0
    length = (slope**2 / spectrum**2) ** (1 / 3) * n ** (1 / 3)
    return float(min(max(length, 1.0), min(3.0 * math.sqrt(n), n / 3.0)))


def _quiet_after(significant: npt.NDArray[np.bool_], in_a_row: int) -> int:
    """The last lag before ``in_a_row`` insignificant ones; the last significant one where they never come."""
    run = 0
    for lag, found in enumerate(significant, start=1):
        run = 0 if found else run + 1
        if run == in_a_row:
            return lag - in_a_row
    found_at = np.flatnonzero(significant)
    return int(found_at[-1]) + 1 if len(found_at) else 0
