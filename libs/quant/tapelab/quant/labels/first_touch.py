"""Where a path first leaves a corridor: the kernel under every triple barrier.

For a label with corridor ``(lower, upper)`` and span ``[start, stop)`` of a path of highs and lows, the first
row with ``high >= upper`` or ``low <= lower`` ends it. Searching bar by bar costs the length of the span and a
mispredicted branch per label. Here the largest high and smallest low of every window of 1, 2, 4, ... rows are
kept for a stretch of the path that fits the cache, and a label walks down from the widest window: skip it where
nothing touches, else look into its first half. That takes the same few steps whatever the barriers' width, and
no branch that depends on prices.

A price that is NaN touches nothing, and a barrier that is not finite is none.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

#: Rows of the path whose windows are kept at a time; with a span of 100 they take half a megabyte.
_STRETCH: Final = 4096
#: Spans of more rows are walked row by row, so that memory stays bounded.
_LONGEST: Final = 1 << 15
#: Labels that walk down side by side.
_TOGETHER: Final = 1024


class Touches(NamedTuple):
    """One row per label; every array has shape ``(n,)``.

    Args:
        row: int64, the path's row that touched first; the span's ``stop`` where none did.
        side: int8, +1 the upper barrier, -1 the lower, 0 none.
    """

    row: Int64
    side: npt.NDArray[np.int8]


@njit
def _longest(start: Any, stop: Any, m: int) -> int:
    """Rows of the longest span; -1 where one lies outside the path or a start falls."""
    longest, before, good = 0, 0, True
    for i in range(len(start)):
        good &= (start[i] >= before) & (stop[i] >= start[i]) & (stop[i] <= m)
        before = start[i]
        longest = max(longest, stop[i] - start[i])
    return longest if good else -1


@njit
def _windows(high: Any, low: Any, base: int, rows: int, levels: int, most: Any, least: Any) -> None:
    """Fill ``most[k, i]`` and ``least[k, i]`` with the extremes of rows ``base + i .. base + i + 2**k - 1``."""
    shown = min(rows, len(high) - base)  # the rest, past the path, never touches
    for i in range(shown):
        h, l_ = high[base + i], low[base + i]
        most[0, i] = h if h == h else -np.inf
        least[0, i] = l_ if l_ == l_ else np.inf
    for i in range(shown, rows):
        most[0, i] = -np.inf
        least[0, i] = np.inf
    for k in range(1, levels):
        half = 1 << (k - 1)
        top, bottom = most[k - 1], least[k - 1]
        new_top, new_bottom = most[k], least[k]
        for i in range(rows - half):
            a, b = top[i], top[i + half]
            new_top[i] = a if a > b else b
            c, d = bottom[i], bottom[i + half]
            new_bottom[i] = c if c < d else d


@njit
def _descend(
    high: Any, low: Any, start: Any, stop: Any, upper: Any, lower: Any, ties: Any, levels: int, row: Any, side: Any
) -> None:
    reach = 1 << levels
    stretch = max(_STRETCH, reach)
    rows = stretch + reach
    most, least = np.empty((levels, rows)), np.empty((levels, rows))
    at, up, down = np.empty(_TOGETHER, np.int64), np.empty(_TOGETHER), np.empty(_TOGETHER)
    first, n, sided = 0, len(start), len(ties) > 0
    while first < n:
        base = start[first]
        _windows(high, low, base, rows, levels, most, least)
        until = first
        while until < n and start[until] < base + stretch:
            until += 1
        for begin in range(first, until, _TOGETHER):
            some = min(_TOGETHER, until - begin)
            for j in range(some):
                at[j] = start[begin + j] - base
                high_barrier, low_barrier = upper[begin + j], lower[begin + j]
                up[j] = high_barrier if np.isfinite(high_barrier) else np.nan
                down[j] = low_barrier if np.isfinite(low_barrier) else np.nan
            # Widest windows outside, labels inside: no step waits for the one before it, none is mispredicted.
            for k in range(levels - 1, -1, -1):
                top, bottom, width = most[k], least[k], 1 << k
                for j in range(some):
                    here = np.uint64(at[j])
                    touched = (top[here] >= up[j]) | (bottom[here] <= down[j])
                    at[j] += 0 if touched else width
            top, bottom = most[0], least[0]
            for j in range(some):
                here, found = np.uint64(at[j]), base + at[j]
                # A span never reaches past 2**levels - 1 rows; a touch beyond its stop is none.
                inside = found < stop[begin + j]
                above, below = top[here] >= up[j], bottom[here] <= down[j]
                tie = ties[begin + j] if sided else -1
                touch = tie if above & below else np.int64(above) - np.int64(below)
                row[begin + j] = found if inside else stop[begin + j]
                side[begin + j] = touch if inside else 0
        first = until


@njit
def _walk(high: Any, low: Any, start: Any, stop: Any, upper: Any, lower: Any, ties: Any, row: Any, side: Any) -> None:
    for i in range(len(start)):
        row[i], side[i] = stop[i], 0
        up = upper[i] if np.isfinite(upper[i]) else np.nan
        down = lower[i] if np.isfinite(lower[i]) else np.nan
        for j in range(start[i], stop[i]):
            above, below = high[j] >= up, low[j] <= down
            if above or below:
                row[i] = j
                side[i] = np.int64(above) - np.int64(below)
                if above and below:
                    side[i] = ties[i] if len(ties) else -1
                break


def first_touch(
    high: Float64,
    low: Float64,
    start: Int64,
    stop: Int64,
    upper: Float64,
    lower: Float64,
    *,
    side: npt.NDArray[np.int8] | None = None,
) -> Touches:
    """The first row of each span at which the path touches a barrier.

    Where one row touches both, the order inside it is unknown and the worse is taken: a long position's stop
    (the lower barrier) touched first, a short one's likewise (the upper).

    Args:
        high: highs of the path, shape ``(m,)``; for a path of trades their prices.
        low: lows, shape ``(m,)``.
        start: first row of each span, shape ``(n,)``, never falling, in ``0 .. m``.
        stop: row after its last, ``start <= stop <= m``; an empty span touches nothing.
        upper: price of the upper barrier, shape ``(n,)``; none where it is not finite.
        lower: price of the lower barrier, shape ``(n,)``; likewise.
        side: the position that the barriers belong to, +1 long (the default) or -1 short, shape ``(n,)``.

    Raises:
        ValueError: shapes disagree, spans outside the path, or starts that fall.

    Source: Lopez de Prado, "Advances in Financial Machine Learning" (2018), section 3.4.
    """
    if high.shape != low.shape or high.ndim != 1:
        raise ValueError(f"first_touch: expected one low per high, got shapes {high.shape} and {low.shape}")
    shapes = {column.shape for column in (start, stop, upper, lower)} | ({side.shape} if side is not None else set())
    if len(shapes) != 1 or start.ndim != 1:
        raise ValueError(f"first_touch: expected one start, stop, barrier and side per label, got shapes {shapes}")
    n = len(start)
    start, stop = np.ascontiguousarray(start, np.int64), np.ascontiguousarray(stop, np.int64)
    longest = int(_longest(start, stop, len(high)))
    if longest < 0:
        raise ValueError(
            f"first_touch: expected spans within 0..{len(high)} whose starts never fall, got starts "
            f"{start.min()}..{start.max()} and stops {stop.min()}..{stop.max()}"
        )
    found = Touches(np.empty(n, np.int64), np.empty(n, np.int8))
    # Which barrier counts where both are touched: the stop, on the other side than the position.
    ties = np.empty(0, np.int64) if side is None else np.where(side < 0, 1, -1).astype(np.int64)
    path = np.ascontiguousarray(high, np.float64), np.ascontiguousarray(low, np.float64)
    barriers = np.ascontiguousarray(upper, np.float64), np.ascontiguousarray(lower, np.float64)
    if longest > _LONGEST:
        _walk(*path, start, stop, *barriers, ties, *found)
    else:
        _descend(*path, start, stop, *barriers, ties, max(longest.bit_length(), 1), *found)
    return found
