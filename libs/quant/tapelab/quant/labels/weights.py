"""Sample weights: labels whose spans overlap say the same thing several times.

Spans are rows of one series of bars, first and last both included. A label of bar ``i`` that ends in bar ``j``
covers the returns of bars ``i + 1 .. j``.

Source: Lopez de Prado, "Advances in Financial Machine Learning" (2018), sections 4.3, 4.4, 4.10 and 4.11.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@njit
def _mean_share(first: Any, last: Any, count: Any, out: Any) -> None:
    for i in range(len(first)):
        total = 0.0
        for t in range(first[i], last[i] + 1):
            total += 1.0 / count[t]
        out[i] = total / (last[i] - first[i] + 1)


@njit
def _attributed(first: Any, last: Any, count: Any, ret: Any, out: Any) -> None:
    for i in range(len(first)):
        total = 0.0
        for t in range(first[i], last[i] + 1):
            if np.isfinite(ret[t]):
                total += ret[t] / count[t]
        out[i] = abs(total)


def concurrency(first: Int64, last: Int64, n_bars: int) -> Int64:
    """How many spans cover each bar, int64 ``(n_bars,)``.

    Args:
        first: first bar of each span, shape ``(n,)``.
        last: last bar, ``first <= last < n_bars``.

    Raises:
        ValueError: shapes disagree or a span lies outside the bars.
    """
    if first.shape != last.shape or first.ndim != 1:
        raise ValueError(f"expected one last bar per first, got shapes {first.shape} and {last.shape}")
    if len(first) and (int(first.min()) < 0 or bool((last < first).any()) or int(last.max()) >= n_bars):
        raise ValueError(
            f"expected spans within 0..{n_bars - 1} that end where they start or later, got first bars from "
            f"{first.min()} and last bars to {last.max()}"
        )
    begun = np.bincount(first, minlength=n_bars + 1)
    over = np.bincount(last + 1, minlength=n_bars + 1)
    return np.cumsum(begun - over)[:n_bars].astype(np.int64)


def average_uniqueness(first: Int64, last: Int64, n_bars: int) -> Float64:
    """Mean over a span's bars of 1 / the spans that cover each: 1 where a label shares no bar, float64 ``(n,)``.

    Arguments and errors as for :func:`concurrency`.
    """
    count = concurrency(first, last, n_bars)
    out = np.empty(len(first))
    _mean_share(np.ascontiguousarray(first, np.int64), np.ascontiguousarray(last, np.int64), count, out)
    return out


def return_attribution(first: Int64, last: Int64, ret: Float64) -> Float64:
    """Size of the return that is a label's own: |sum over its bars of return / spans that cover the bar|.

    Args:
        first: first bar of each span, shape ``(n,)``.
        last: last bar.
        ret: log return of each bar, shape ``(n_bars,)``; one that is not finite counts as 0.

    Returns:
        float64 ``(n,)``, not scaled; see :func:`to_mean_one`.

    Raises:
        ValueError: as for :func:`concurrency`.
    """
    count = concurrency(first, last, len(ret))
    out = np.empty(len(first))
    spans = np.ascontiguousarray(first, np.int64), np.ascontiguousarray(last, np.int64)
    _attributed(*spans, count, np.ascontiguousarray(ret, np.float64), out)
    return out


def time_decay(uniqueness: Float64, oldest: float) -> Float64:
    """Factors that fall from 1 for the newest label along a line in cumulated uniqueness.

    Args:
        uniqueness: average uniqueness in time order, shape ``(n,)``, not negative.
        oldest: 1 for no decay; in [0, 1) where the line arrives at the start of the span; in (-1, 0) the share
            of the oldest labels that count nothing.

    Returns:
        float64 ``(n,)`` in [0, 1].

    Raises:
        ValueError: ``oldest`` outside (-1, 1], or uniqueness that is negative or not finite.
    """
    if not -1.0 < oldest <= 1.0:
        raise ValueError(f"time_decay: expected oldest in (-1, 1], got {oldest!r}")
    if len(uniqueness) and not bool(((uniqueness >= 0.0) & (uniqueness < np.inf)).all()):
        raise ValueError(f"time_decay: expected uniqueness from 0 on, got {uniqueness.min()!r}..{uniqueness.max()!r}")
    cumulated = np.cumsum(uniqueness)
    if not len(cumulated) or cumulated[-1] == 0.0:
        return np.ones(len(cumulated))
    whole = cumulated[-1]
    slope = (1.0 - oldest) / whole if oldest >= 0.0 else 1.0 / ((oldest + 1.0) * whole)
    line: Float64 = np.clip(1.0 + slope * (cumulated - whole), 0.0, 1.0)
    return line


def to_mean_one(weight: Float64) -> Float64:
    """Scale weights to a mean of 1, so that limits counted in samples keep their meaning.

    All 1 where they are all 0.

    Raises:
        ValueError: a weight that is negative or not finite.
    """
    if len(weight) and not bool(((weight >= 0.0) & (weight < np.inf)).all()):
        raise ValueError(f"expected weights from 0 on, got {weight.min()!r}..{weight.max()!r}")
    mean = float(weight.mean()) if len(weight) else 0.0
    return weight / mean if mean > 0.0 else np.ones(len(weight))
