"""What scores and trades earned, and whether they earned it everywhere or in one corner.

Returns are fractions of the price unless said otherwise. Sharpe ratios are in
:mod:`tapelab.quant.validation.sharpe`, drawdown and Sortino ratio in :mod:`tapelab.quant.backtest.results`.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_HOUR_NS: Final = 3_600_000_000_000
#: 1 January 1970 was a Thursday; Monday is 0.
_EPOCH_WEEKDAY: Final = 3


def hit_rate(net: Floats) -> float:
    """Share of trades with a profit above zero; NaN for no trades."""
    return float(np.mean(net > 0.0)) if len(net) else math.nan


class ScoreGroups(NamedTuple):
    """Samples in groups of equal size by score, lowest first.

    Args:
        n: samples per group.
        low: lowest score of the group.
        mean_return: mean return of the group.
    """

    n: Ints
    low: Floats
    mean_return: Floats


def return_by_score(score: Floats, ret: Floats, *, n_groups: int = 10) -> ScoreGroups:
    """Mean return by decile (or other quantile) of the score: a good score's rises from first to last.

    Equal scores stay together, in the group of the middle one, so that the order of samples says nothing;
    groups that are left empty by that are dropped.

    Args:
        score: any real numbers, finite, shape ``(n,)``.
        ret: returns, finite, shape ``(n,)``.
        n_groups: >= 1.
    """
    if n_groups < 1:
        raise ValueError(f"n_groups: expected >= 1, got {n_groups}")
    score, ret = np.asarray(score, np.float64), np.asarray(ret, np.float64)
    if score.shape != ret.shape or not np.isfinite(score).all() or not np.isfinite(ret).all():
        raise ValueError(f"expected finite scores and returns of one shape, got {score.shape} and {ret.shape}")
    values, of, count = np.unique(score, return_inverse=True, return_counts=True)
    if not len(values):
        return ScoreGroups(np.empty(0, np.int64), np.empty(0), np.empty(0))
    # Twice the middle position of each run of equals, in whole numbers.
    middle = 2 * np.cumsum(count) - count - 1
    group = middle * n_groups // (2 * len(score))
    names, first = np.unique(group, return_index=True)
    members = np.bincount(group[of], minlength=n_groups)[names]
    total = np.bincount(group[of], weights=ret, minlength=n_groups)[names]
    return ScoreGroups(members.astype(np.int64), values[first], total / members)


class Slices(NamedTuple):
    """A total cut by a key; only keys that occur, in order.

    Args:
        key: the hour 0-23, or the weekday 0-6 from Monday.
        n: observations.
        total: their sum.
        t: mean over its standard error; NaN for fewer than two observations or no spread.
    """

    key: Ints
    n: Ints
    total: Floats
    t: Floats

    @property
    def positive(self) -> float:
        """Share of keys with a total above zero; NaN where there are none."""
        return float(np.mean(self.total > 0.0)) if len(self.key) else math.nan


def by_key(key: npt.NDArray[np.integer], x: Floats) -> Slices:
    """Cut observations by a key: is the profit spread over hours and weekdays or made in one of them?

    Args:
        key: shape ``(n,)``.
        x: one figure per observation, finite, shape ``(n,)``.
    """
    if key.shape != x.shape:
        raise ValueError(f"expected one key per observation, got shapes {key.shape} and {x.shape}")
    names, of, count = np.unique(key, return_inverse=True, return_counts=True)
    total = np.bincount(of, weights=x, minlength=len(names)).astype(np.float64)
    mean = total / np.maximum(count, 1)
    squares = np.bincount(of, weights=(x - mean[of]) ** 2, minlength=len(names))
    error = np.sqrt(squares / np.maximum(count - 1, 1) / np.maximum(count, 1))
    # Equal observations leave a rounding residue instead of zero.
    varies = (count > 1) & (error > 1e-12 * np.abs(mean))
    t = np.where(varies, mean / np.where(varies, error, 1.0), np.nan)
    return Slices(names.astype(np.int64), count.astype(np.int64), total, t)


def hour_of_day(ts_ns: Ints, utc_offset_ns: int | Ints = 0) -> Ints:
    """Hour 0-23 of event times, shifted to local time by an offset in nanoseconds."""
    hours: Ints = (ts_ns + utc_offset_ns) // _HOUR_NS % 24
    return hours


def weekday(ts_ns: Ints, utc_offset_ns: int | Ints = 0) -> Ints:
    """Weekday of event times, Monday 0 to Sunday 6, shifted to local time by an offset in nanoseconds."""
    days: Ints = ((ts_ns + utc_offset_ns) // (24 * _HOUR_NS) + _EPOCH_WEEKDAY) % 7
    return days
