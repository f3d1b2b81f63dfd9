"""What crosses days: the last complete days of a symbol, summed by time of the session.

State starts afresh each trading day, so that any day can be recomputed alone; what a day may know of the ones
before it is a :class:`DayContext` and nothing else. It is a function of the last :data:`DAYS` complete days:
recomputing it from their bars gives the bits that a live engine carries.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit
from tapelab.quant.dtypes import BAR_DTYPE, BarFlag

DAYS: Final = 5
BINS: Final = 48  # equal parts of the session
MEASURES: Final = 2  # prints, realised variance
SUMMARY: Final = MEASURES * BINS

#: Carried floats: days held, whether the running day is complete so far, its number, its sums, the days' sums.
HELD: Final = 0
COMPLETE: Final = 1
DAY: Final = 2
TODAY: Final = 3
PAST: Final = TODAY + SUMMARY
CONTEXT_SLOTS: Final = PAST + DAYS * SUMMARY

_SESSION_END: Final = int(BarFlag.SESSION_END)
_AFTER_GAP: Final = int(BarFlag.AFTER_GAP)

Floats = npt.NDArray[np.float64]


class DayContext(NamedTuple):
    """Sums of the last complete days.

    Args:
        days: float64, shape (d, 2, BINS), oldest first, d <= DAYS: prints and realised variance (squared log
            return) of the bars that closed in each of ``BINS`` equal parts of the session. Always finite.
    """

    days: Floats


@njit
def session_bin(bar: Any) -> int:
    """Part of the session in which the bar closes, 0 to ``BINS - 1``."""
    length = float(bar.session_close_ns - bar.session_open_ns)
    if not length > 0.0:
        return 0
    return int(min(BINS - 1.0, max(0.0, float(bar.ts_close_ns - bar.session_open_ns) / length * BINS)))


@njit
def take_bar(bar: Any, context: Floats) -> None:
    """Add a bar to its day; the bar that ends the session closes the day, which counts if it was complete.

    A day is complete when its first bar opens within the session's first part and no gap is in it.
    """
    gap = (bar.flags & _AFTER_GAP) != 0
    if float(bar.day) != context[DAY]:
        context[DAY] = bar.day
        context[TODAY:PAST] = 0.0
        length = float(bar.session_close_ns - bar.session_open_ns)
        prompt = float(bar.ts_open_ns - bar.session_open_ns) * BINS < length
        context[COMPLETE] = 1.0 if prompt else 0.0
    if gap:
        context[COMPLETE] = 0.0
    at = TODAY + session_bin(bar)
    context[at] += max(0.0, float(bar.n))
    variance = float(bar.realised_var)
    if np.isfinite(variance) and variance > 0.0:
        context[at + BINS] += variance
    if context[COMPLETE] != 0.0 and (bar.flags & _SESSION_END) != 0:
        held = int(context[HELD])
        if held == DAYS:
            # Oldest first, whatever came before them: the order of sums must not tell how long a stream has run.
            for k in range(PAST, CONTEXT_SLOTS - SUMMARY):
                context[k] = context[k + SUMMARY]
            held -= 1
        context[PAST + held * SUMMARY : PAST + (held + 1) * SUMMARY] = context[TODAY:PAST]
        context[HELD] = held + 1
        context[COMPLETE] = 0.0


@njit
def _take(bars: Any, context: Floats) -> None:
    for i in range(len(bars)):
        take_bar(bars[i], context)


def day_context(bars: npt.NDArray[np.void]) -> DayContext:
    """The context that the bars of some days leave to the day after them.

    Args:
        bars: ``BAR_DTYPE``, shape (n,), in order, of one symbol; only the last ``DAYS`` complete days count.

    Raises:
        ValueError: the array is not of ``BAR_DTYPE``.
    """
    if bars.dtype != BAR_DTYPE or bars.ndim != 1:
        raise ValueError(f"bars must be a vector of BAR_DTYPE, got shape {bars.shape} of {bars.dtype}")
    slots = np.zeros(CONTEXT_SLOTS)
    _take(np.require(bars, requirements=["C", "A", "W"]), slots)
    return held_context(slots)


def held_context(slots: Floats) -> DayContext:
    """The complete days that carried floats hold, shape (``CONTEXT_SLOTS``,)."""
    held = int(slots[HELD])
    return DayContext(slots[PAST : PAST + held * SUMMARY].reshape(held, MEASURES, BINS).copy())


def put_context(context: DayContext, slots: Floats) -> None:
    """Make carried floats those of a day's start under this context.

    Raises:
        ValueError: it is not of shape (d <= DAYS, 2, BINS), or not finite.
    """
    days = np.asarray(context.days, dtype=np.float64)
    if days.ndim != 3 or days.shape[0] > DAYS or days.shape[1:] != (MEASURES, BINS) or not np.isfinite(days).all():
        raise ValueError(
            f"day context: expected finite sums of shape (at most {DAYS}, {MEASURES}, {BINS}), got shape {days.shape}; "
            "make it with day_context(bars)"
        )
    slots[:] = 0.0
    slots[HELD] = len(days)
    slots[PAST : PAST + days.size] = days.ravel()
