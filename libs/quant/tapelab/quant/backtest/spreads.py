"""Estimates of the bid-ask spread for fills, from prints and bars alone: no source of prints carries quotes.

Each is known when its bar closes: it looks at the bar and those before it in a window, within the day. Where there
is no estimate yet, or a senseless one, it is NaN, and :func:`spread_for_fills` takes the fixed spread.
(Quotes of the book come with the book; a column of quoted spreads then takes the place of these.)
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit
from tapelab.quant.features.ranges import pair_spread

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

#: Bars that an estimate looks at.
WINDOW: Final = 20


def roll_spread(price: Floats, first_print: Rows, last_print: Rows, day: npt.NDArray[np.int32]) -> Floats:
    """Twice the root of minus the covariance of successive price changes of prints.

    R. Roll, "A simple implicit measure of the effective bid-ask spread in an efficient market", Journal of Finance
    39 (1984). NaN where the covariance is not negative, or fewer than three changes were seen.

    Args:
        price: of the prints, shape ``(m,)``, finite.
        first_print, last_print: rows of each bar's prints, shape ``(n,)``, not decreasing.
        day: trading day of each bar.

    Returns:
        f64 of shape ``(n,)``, price units.
    """
    estimate: Floats = _roll(price, first_print, last_print, day)
    return estimate


def effective_spread(
    price: Floats,
    aggressor: npt.NDArray[np.int8],
    first_print: Rows,
    last_print: Rows,
    day: npt.NDArray[np.int32],
) -> Floats:
    """Mean of buy price minus sell price over successive prints of opposite sides.

    Between two such prints the price crosses the spread once; what the middle moved meanwhile averages out. Prints
    without a side are left out. NaN without such a pair, or where the mean is not positive. Arguments as in
    :func:`roll_spread`; ``aggressor`` is +1, -1 or 0.
    """
    estimate: Floats = _effective(price, aggressor, first_print, last_print, day)
    return estimate


def corwin_schultz_spread(high: Floats, low: Floats, close: Floats, day: npt.NDArray[np.int32]) -> Floats:
    """Mean of Corwin and Schultz's spread over the window's pairs of successive bars, times the close.

    S. Corwin and P. Schultz, "A simple way to estimate bid-ask spreads from daily high and low prices", Journal of
    Finance 67 (2012); a pair's negative spread counts as zero, as they advise. NaN at a day's first bar, and where
    the mean is zero. Bars of a few prints hardly show their spread in their range: of the three estimates this
    is the coarsest. Shapes ``(n,)``.
    """
    estimate: Floats = _corwin_schultz(high, low, close, day)
    return estimate


def spread_for_fills(estimate: Floats, spread_ticks: float, tick_size: float) -> Floats:
    """What fills pay, price units: the estimate, and never less than the fixed spread that decisions expect."""
    return np.fmax(estimate, spread_ticks * tick_size)


@njit
def _window(sums: Any, day: Any, i: int, total: Any) -> None:
    """Sums of a bar and those before it in the window, from the first to the last."""
    first = i
    while first > 0 and i - first < WINDOW - 1 and day[first - 1] == day[i]:
        first -= 1
    total[:] = 0.0
    for j in range(first, i + 1):
        for c in range(len(total)):
            total[c] += sums[j, c]


@njit
def _roll(price: Any, first_print: Any, last_print: Any, day: Any) -> Any:
    n = len(last_print)
    out, sums, total = np.full(n, np.nan), np.zeros((n, 4)), np.empty(4)
    k, seen, before, change_before = 0, 0, 0.0, 0.0
    for i in range(n):
        if i > 0 and day[i] != day[i - 1]:
            seen = 0
        k = max(k, first_print[i])
        while k <= last_print[i]:
            change = price[k] - before
            if seen > 1:
                sums[i, 0] += 1.0
                sums[i, 1] += change
                sums[i, 2] += change_before
                sums[i, 3] += change * change_before
            before, change_before = price[k], change
            seen += 1
            k += 1
        _window(sums, day, i, total)
        count = total[0]
        if count >= 2.0:
            covariance = total[3] / count - total[1] / count * (total[2] / count)
            if covariance < 0.0:
                out[i] = 2.0 * math.sqrt(-covariance)
    return out


@njit
def _effective(price: Any, aggressor: Any, first_print: Any, last_print: Any, day: Any) -> Any:
    n = len(last_print)
    out, sums, total = np.full(n, np.nan), np.zeros((n, 2)), np.empty(2)
    k, side, before = 0, 0, 0.0
    for i in range(n):
        if i > 0 and day[i] != day[i - 1]:
            side = 0
        k = max(k, first_print[i])
        while k <= last_print[i]:
            now = aggressor[k]
            if now != 0:
                if side == -now:
                    sums[i, 0] += 1.0
                    sums[i, 1] += now * (price[k] - before)
                side, before = now, price[k]
            k += 1
        _window(sums, day, i, total)
        if total[1] > 0.0:
            out[i] = total[1] / total[0]
    return out


@njit
def _corwin_schultz(high: Any, low: Any, close: Any, day: Any) -> Any:
    n = len(high)
    out, sums, total = np.full(n, np.nan), np.zeros((n, 2)), np.empty(2)
    for i in range(n):
        if i > 0 and day[i] == day[i - 1]:
            sums[i, 0] = 1.0
            sums[i, 1] = pair_spread(high[i], low[i], high[i - 1], low[i - 1])
        _window(sums, day, i, total)
        if total[1] > 0.0:
            out[i] = total[1] / total[0] * close[i]
    return out
