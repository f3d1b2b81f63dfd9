"""Ratios of mean to deviation, summed from the first value to the last."""

from __future__ import annotations

import math
from typing import Any

from tapelab.quant._numba import njit


@njit
def ratio_of(values: Any, n: int) -> float:
    """Mean over standard deviation (n - 1) of the first n values; NaN below two or where they do not vary."""
    if n < 2:
        return math.nan
    total, largest = 0.0, 0.0
    for i in range(n):
        total += values[i]
        largest = max(largest, abs(values[i]))
    mean, squares = total / n, 0.0
    for i in range(n):
        off = values[i] - mean
        squares += off * off
    deviation = math.sqrt(squares / (n - 1))
    # Equal values leave a rounding residue instead of zero.
    return mean / deviation if deviation > 1e-12 * largest else math.nan


@njit
def downside_ratio_of(values: Any, n: int) -> float:
    """Mean over the root mean square of what is below zero, of the first n values; NaN where undefined."""
    if n < 2:
        return math.nan
    total, squares = 0.0, 0.0
    for i in range(n):
        total += values[i]
        if values[i] < 0.0:
            squares += values[i] * values[i]
    downside = math.sqrt(squares / n)
    return total / n / downside if downside > 0.0 else math.nan
