"""Volume profile: where in the recent range trading concentrated, and where the close stands to it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import njit
from tapelab.quant.features.rolling import Slots, finite, share
from tapelab.quant.features.spec import FeatureSpec, Normalisation

WINDOW: Final = 60  # bars
BINS: Final = 24  # equal parts of the window's range
VALUE_AREA: Final = 0.7  # share of the volume

#: Slots: a ring each of high, low, vwap and volume.
SLOTS: Final = 4 * WINDOW

_STEIDLMAYER: Final = "Steidlmayer & Hawkins (2003), Steidlmayer on Markets: Trading with Market Profile"
_EMPTY: Final = "0 where the range is 0 or nothing traded"
_TEXT: Final = f"of the volume profile of {WINDOW} bars (each bar's volume at its vwap, {BINS} equal bins of the range)"


def _profile(name: str, unit: str, summary: str) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family="technical",
        inputs=("high", "low", "close", "vwap", "volume"),
        window=WINDOW,
        warmup=WINDOW,
        unit=unit,
        nan_policy=_EMPTY,
        normalisation=Normalisation.NONE,
        summary=summary,
        source=_STEIDLMAYER,
    )


SPECS: Final = (
    _profile(
        f"poc_gap_{WINDOW}",
        "share of the range, -1 to 1",
        f"(close - middle of the fullest bin, the point of control, {_TEXT}) / range",
    ),
    _profile(
        f"value_area_position_{WINDOW}",
        "half value areas",
        f"(close - middle of the value area) / half its width, {_TEXT}; kept within ±3. The area grows from the point "
        f"of control by the fuller neighbour, the lower one on a tie, until it holds {VALUE_AREA:.0%} of the volume",
    ),
    _profile(f"value_area_width_{WINDOW}", "share of the range, 0 to 1", f"width of the value area {_TEXT} / range"),
)


@njit
def profile_row(bar: Any, t: int, slots: Slots, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``, from scratch over the window: nothing drifts."""
    at = t % WINDOW
    slots[at] = finite(bar.high)
    slots[WINDOW + at] = finite(bar.low)
    slots[2 * WINDOW + at] = finite(bar.vwap)
    slots[3 * WINDOW + at] = max(0.0, finite(bar.volume))
    raw[:3] = 0.0
    count = min(t + 1, WINDOW)
    if count < WINDOW:
        return
    high = slots[0]
    low = slots[WINDOW]
    for k in range(1, count):
        high = max(high, slots[k])
        low = min(low, slots[WINDOW + k])
    span = high - low
    if not (span > 0.0 and np.isfinite(span)):
        return
    bins = np.zeros(BINS)
    total = 0.0
    # In ring order, which depends on the place in the day alone.
    for k in range(count):
        volume = slots[3 * WINDOW + k]
        place = int(min(BINS - 1.0, max(0.0, (slots[2 * WINDOW + k] - low) / span * BINS)))
        bins[place] += volume
        total += volume
    if not (total > 0.0 and np.isfinite(total)):
        return
    peak = 0
    for k in range(1, BINS):
        if bins[k] > bins[peak]:
            peak = k
    first = peak
    last = peak
    held = bins[peak]
    while held < VALUE_AREA * total and (first > 0 or last < BINS - 1):
        below = bins[first - 1] if first > 0 else -1.0
        above = bins[last + 1] if last < BINS - 1 else -1.0
        if below >= above:
            first -= 1
            held += below
        else:
            last += 1
            held += above
    place_of_close = (bar.close - low) / span * BINS
    raw[0] = share(place_of_close - (peak + 0.5), float(BINS))
    half = 0.5 * (last + 1 - first)
    raw[1] = min(3.0, max(-3.0, finite((place_of_close - (first + half)) / half)))
    raw[2] = 2.0 * half / BINS
