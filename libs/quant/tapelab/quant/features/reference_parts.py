"""What the plain definitions of features share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Day = npt.NDArray[np.void]
#: A feature over the bars of one day up to and including the current one.
Definition = Callable[[Day, float], float]


def ratio(part: float, whole: float) -> float:
    """A part of a whole; 0 of nothing."""
    return float(part / whole) if whole > 0.0 else 0.0


def share(part: float, whole: float) -> float:
    """The same, kept within -1 and 1."""
    return min(1.0, max(-1.0, ratio(part, whole)))


def previous_close(day: Day) -> Floats:
    """What each bar moves from: the close before, the open of the day's first."""
    return np.concatenate([day["open"][:1], day["close"][:-1]])


def log_returns(day: Day) -> Floats:
    """Log return of each bar."""
    returns: Floats = np.log(day["close"] / previous_close(day))
    return returns


def signed_volume(day: Day) -> Floats:
    """Bought less sold lots of each bar."""
    signed: Floats = day["buy_volume"] - day["sell_volume"]
    return signed


def field(name: str) -> Definition:
    """The newest bar's own."""
    return lambda day, _tick: float(day[name][-1])


def wilder(values: Floats, window: int) -> float:
    """Wilder's average: the mean of the first values, then each of the others by one part in the window."""
    average = float(values[:window].mean())
    for value in values[window:]:
        average = (average * (window - 1) + float(value)) / window
    return average
