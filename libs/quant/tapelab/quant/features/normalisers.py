"""How a raw value is scaled by the values of its feature before it, O(1) or O(window) work each.

The rolling normaliser, the usual one, takes all features at once: see ``lanes.py``. The others are here.
Statistics never hold the current value. A level (``ZSCORE``) is centred; a direction (``SCALE``) keeps its sign
and its zero, so its statistics are those of absolute values.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.features.lanes import RELATIVE_FLOOR, lane_slots
from tapelab.quant.features.rolling import Slots, finite, moments_slots, push_moments
from tapelab.quant.features.spec import Normalisation, Normaliser, NormaliserKind

_ZSCORE: Final = int(Normalisation.ZSCORE)
_ROBUST: Final = int(NormaliserKind.ROBUST)
_RANK: Final = int(NormaliserKind.RANK)
_WINSOR: Final = int(NormaliserKind.WINSOR)
_EWMA: Final = int(NormaliserKind.EWMA)
#: Quartile distance, and median of absolute values, of a normal distribution of deviation 1.
NORMAL_IQR: Final = 1.3489795003921634
NORMAL_MAD: Final = 0.6744897501960817


def normaliser_slots(normaliser: Normaliser) -> int:
    """Floats that one feature's normaliser carries."""
    window = normaliser.window
    rings = 2 * window  # values in order of time, and sorted
    return {
        NormaliserKind.ROLLING: lane_slots(window),
        NormaliserKind.ROBUST: rings,
        NormaliserKind.RANK: rings,
        NormaliserKind.WINSOR: rings + moments_slots(window),
        NormaliserKind.EWMA: 3,
        NormaliserKind.RAW: 0,
    }[normaliser.kind]


@leaf
def normalised(
    value: float, slots: Slots, u: int, window: int, minimum: int, mode: int, kind: int, shape: float, clip: float
) -> float:
    """The value against the ``u`` ones before it, then taken into the statistics; 0 for fewer than ``minimum``.

    ``kind`` is any but the rolling one; ``shape`` is the tail share of the winsorising normaliser and the decay of
    the exponential one.
    """
    count = min(u, window)
    out = 0.0
    if kind == _EWMA:
        if u >= minimum:
            out = _scaled(value, slots[1], slots[2] / slots[0], mode, clip)
        # West (1979): weight, mean and weighted sum of squared deviations.
        slots[0] = slots[0] * shape + 1.0
        delta = value - slots[1]
        slots[1] += delta / slots[0]
        slots[2] = slots[2] * shape + delta * (value - slots[1])
    else:
        key = value if mode == _ZSCORE else abs(value)
        ordered = slots[window : 2 * window]
        if kind == _WINSOR:
            moments = slots[2 * window :]
            kept = value
            if u >= minimum:
                kept = _winsorised(value, ordered, count, mode, shape)
                out = _scaled(kept, moments[2], moments[3] / count, mode, clip)
            push_moments(moments, window, u, kept)
        elif u >= minimum and kind == _ROBUST:
            out = _robust(value, ordered, count, mode, clip)
        elif u >= minimum and kind == _RANK:
            out = _ranked(value, key, ordered, count, mode)
        _replace(slots, window, u, key)
    return out


@leaf
def _scaled(value: float, mean: float, variance: float, mode: int, clip: float) -> float:
    """The value against a mean and a variance, winsorised; 0 where there is no variation."""
    centre = 0.0
    if mode == _ZSCORE:
        centre = mean
    else:
        variance += mean * mean
    spread = np.sqrt(variance)
    if not spread > RELATIVE_FLOOR * abs(centre):
        return 0.0
    return min(clip, max(-clip, finite((value - centre) / spread)))


@leaf
def quantile(ordered: Slots, count: int, share: float) -> float:
    """The quantile of the first ``count`` sorted values, linear between neighbours (Hyndman & Fan's type 7)."""
    place = share * (count - 1)
    below = int(place)
    above = min(below + 1, count - 1)
    found: float = ordered[below] + (place - below) * (ordered[above] - ordered[below])
    return found


@leaf
def _robust(value: float, ordered: Slots, count: int, mode: int, clip: float) -> float:
    median = quantile(ordered, count, 0.5)
    centre = 0.0
    if mode == _ZSCORE:
        centre = median
        spread = (quantile(ordered, count, 0.75) - quantile(ordered, count, 0.25)) / NORMAL_IQR
    else:
        spread = median / NORMAL_MAD
    if not spread > RELATIVE_FLOOR * abs(centre):
        return 0.0
    return min(clip, max(-clip, finite((value - centre) / spread)))


@leaf
def _ranked(value: float, key: float, ordered: Slots, count: int, mode: int) -> float:
    """Share of earlier values below, equal ones half: -1 to 1 for a level; for a direction 0 to 1 with its sign."""
    twice = np.searchsorted(ordered[:count], key) + np.searchsorted(ordered[:count], key, side="right")
    share: float = twice / (2.0 * count)
    if mode == _ZSCORE:
        return 2.0 * share - 1.0
    return share if value > 0.0 else (-share if value < 0.0 else 0.0)


@leaf
def _winsorised(value: float, ordered: Slots, count: int, mode: int, tail: float) -> float:
    high = quantile(ordered, count, 1.0 - tail)
    low = quantile(ordered, count, tail) if mode == _ZSCORE else -high
    return min(high, max(low, value))


@leaf
def _replace(slots: Slots, window: int, u: int, key: float) -> None:
    """Put the key in the place of the oldest, in the ring and among the sorted; O(window) moves, no arithmetic."""
    ordered = slots[window : 2 * window]
    if u < window:
        at = u
    else:
        at = int(np.searchsorted(ordered, slots[u % window]))
    # The hole walks to where the key belongs.
    while at > 0 and ordered[at - 1] > key:
        ordered[at] = ordered[at - 1]
        at -= 1
    last = min(u, window - 1)
    while at < last and ordered[at + 1] < key:
        ordered[at] = ordered[at + 1]
        at += 1
    ordered[at] = key
    slots[u % window] = key
