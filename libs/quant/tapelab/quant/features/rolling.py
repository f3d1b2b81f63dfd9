"""Rolling sums and moments with O(1) work per value and no drift.

Subtracting what leaves a window lets rounding errors pile up, and one outlier leaves a residue that
outlives it. Here nothing is ever subtracted: time is cut into blocks of one window, counted from the
day's start. When a block ends, the statistics of its tails (entries j..W-1) are computed once, backwards;
a window is then always one tail of the previous block merged with the head of the current one (the
van Herk / Gil-Werman decomposition; moments merge by Chan, Golub & LeVeque 1983). The result depends on
the position in the day alone, never on how rows were grouped into calls.

Every function works on a slice of the carried state that is all zero at the day's start; ``t`` counts
values from 0. The previous block's tails and the current block's values share one ring: position j
holds a value once the current block has reached it, a tail until then.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import leaf

Slots = npt.NDArray[np.float64]

#: Slots besides the ring: sums need ``1 + W``, moments ``4 + 2 W``, pairs ``6 + 4 W``.
SUM_HEADER = 1
MOMENTS_HEADER = 4
PAIR_HEADER = 6


def sum_slots(window: int) -> int:
    """Floats that :func:`push_sum` carries."""
    return SUM_HEADER + window


def moments_slots(window: int) -> int:
    """Floats that :func:`push_moments` carries."""
    return MOMENTS_HEADER + 2 * window


def pair_slots(window: int) -> int:
    """Floats that :func:`push_pair` carries."""
    return PAIR_HEADER + 4 * window


@leaf
def finite(value: float) -> float:
    """The value, 0 where it is NaN or infinite."""
    return value if np.isfinite(value) else 0.0


@leaf
def ratio(part: float, whole: float) -> float:
    """``part / whole``, 0 where the whole is not positive or the quotient is not finite."""
    return finite(part / whole) if whole > 0.0 else 0.0


@leaf
def share(part: float, whole: float) -> float:
    """:func:`ratio` kept within [-1, 1]."""
    return min(1.0, max(-1.0, ratio(part, whole)))


@leaf
def push_sum(slots: Slots, window: int, t: int, value: float) -> float:
    """Add a value and return the sum of the last ``min(t + 1, window)`` ones."""
    at = t % window
    if at == 0:
        tail = 0.0
        for j in range(window, 0, -1):
            tail += slots[j]
            slots[j] = tail
        slots[0] = 0.0
    slots[0] += value
    older = slots[at + 2] if at + 1 < window else 0.0
    slots[at + 1] = value
    total: float = slots[0] + older
    return total


@leaf
def push_moments(slots: Slots, window: int, t: int, value: float) -> None:
    """Add a value; ``slots[2]`` and ``slots[3]`` become the mean and the sum of squared deviations of
    the last ``min(t + 1, window)`` ones."""
    at = t % window
    first = MOMENTS_HEADER
    if at == 0:
        if t > 0:
            mean = 0.0
            m2 = 0.0
            for j in range(window - 1, -1, -1):
                x = slots[first + j]
                delta = x - mean
                mean += delta / (window - j)
                m2 += delta * (x - mean)
                slots[first + j] = mean
                slots[first + window + j] = m2
        slots[0] = 0.0
        slots[1] = 0.0
    head = at + 1
    delta = value - slots[0]
    slots[0] += delta / head
    slots[1] += delta * (value - slots[0])
    older = window - head if t >= window else 0
    if older > 0:
        gap = slots[0] - slots[first + at + 1]
        weight = head / window
        slots[2] = slots[first + at + 1] + gap * weight
        slots[3] = slots[1] + slots[first + window + at + 1] + gap * gap * (older * weight)
    else:
        slots[2] = slots[0]
        slots[3] = slots[1]
    slots[first + at] = value


@leaf
def push_pair(slots: Slots, window: int, t: int, x: float, y: float) -> None:
    """Add a pair; ``slots[4]`` and ``slots[5]`` become the sums of squared deviations of x and of the
    products of deviations of x and y over the last ``min(t + 1, window)`` pairs."""
    at = t % window
    xs = PAIR_HEADER
    ys = xs + window
    sxx = ys + window
    sxy = sxx + window
    if at == 0:
        if t > 0:
            mean_x = 0.0
            mean_y = 0.0
            xx = 0.0
            xy = 0.0
            for j in range(window - 1, -1, -1):
                count = window - j
                dx = slots[xs + j] - mean_x
                dy = slots[ys + j] - mean_y
                mean_x += dx / count
                mean_y += dy / count
                xx += dx * (slots[xs + j] - mean_x)
                xy += dx * (slots[ys + j] - mean_y)
                slots[xs + j] = mean_x
                slots[ys + j] = mean_y
                slots[sxx + j] = xx
                slots[sxy + j] = xy
        slots[0] = 0.0
        slots[1] = 0.0
        slots[2] = 0.0
        slots[3] = 0.0
    head = at + 1
    dx = x - slots[0]
    slots[0] += dx / head
    slots[1] += (y - slots[1]) / head
    slots[2] += dx * (x - slots[0])
    slots[3] += dx * (y - slots[1])
    older = window - head if t >= window else 0
    if older > 0:
        gap_x = slots[0] - slots[xs + at + 1]
        gap_y = slots[1] - slots[ys + at + 1]
        weight = older * (head / window)
        slots[4] = slots[2] + slots[sxx + at + 1] + gap_x * gap_x * weight
        slots[5] = slots[3] + slots[sxy + at + 1] + gap_x * gap_y * weight
    else:
        slots[4] = slots[2]
        slots[5] = slots[3]
    slots[xs + at] = x
    slots[ys + at] = y


@leaf
def push_max(slots: Slots, window: int, t: int, value: float) -> float:
    """Add a value and return the greatest of the last ``min(t + 1, window)`` ones; slots as for a sum."""
    at = t % window
    if at == 0:
        for j in range(window - 1, 0, -1):
            slots[j] = max(slots[j], slots[j + 1])
        slots[0] = value
    slots[0] = max(slots[0], value)
    best: float = slots[0]
    if t >= window and at + 1 < window:
        best = max(best, slots[at + 2])
    slots[at + 1] = value
    return best


@leaf
def push_decayed(slots: Slots, decay: float, value: float) -> float:
    """Add a value to an exponentially forgetting sum: ``sum * decay + value``."""
    slots[0] = slots[0] * decay + value
    total: float = slots[0]
    return total


@leaf
def push_wilder(slots: Slots, window: int, t: int, value: float) -> float:
    """Add a value and return Wilder's (1978) average: the mean of the first ``window`` values, then
    ``(average * (window - 1) + value) / window``; until then the mean of those there are."""
    if t < window:
        slots[0] += (value - slots[0]) / (t + 1)
    else:
        slots[0] = (slots[0] * (window - 1) + value) / window
    average: float = slots[0]
    return average
