"""The prints that orders meet: times as they were seen, prices, lots and who crossed the spread."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit

#: A print. Rows and not columns, since an order looks at all of a print.
PRINT_DTYPE: Final = np.dtype(
    [
        ("ts_ns", "<i8"),  # when it was seen: event time, or the latest time before it where times go back
        ("price", "<f8"),
        ("volume", "<f8"),  # lots
        ("side", "<i8"),  # +1 where a buyer crossed the spread, -1 where a seller did
    ]
)


def prints_of(
    ts_ns: npt.ArrayLike, price: npt.ArrayLike, volume: npt.ArrayLike, aggressor: npt.ArrayLike
) -> npt.NDArray[np.void]:
    """The prints of one symbol that count, in tape order, as ``PRINT_DTYPE`` of shape ``(m,)``.

    Where the aggressor is not known (0), the tick rule of Lee and Ready, "Inferring trade direction from
    intraday data" (1991), says it: above the price before a buyer, below it a seller, at it as before; the
    first print counts as a buyer's.

    Raises:
        ValueError: shapes disagree, or a price or volume is not a finite number of at least 0.
    """
    times = np.asarray(ts_ns, np.int64)
    prints = np.zeros(times.shape, PRINT_DTYPE)
    for name, column in (("price", price), ("volume", volume), ("aggressor", aggressor)):
        values = np.asarray(column)
        if values.shape != times.shape or values.ndim != 1:
            raise ValueError(f"{name}: expected shape {times.shape} like ts_ns, got {values.shape}")
        if name == "aggressor":
            _tick_rule(prints["price"].copy(), np.ascontiguousarray(values, np.int8), prints)
            continue
        bad = ~(np.isfinite(values) & (values >= 0.0))
        if bad.any():
            raise ValueError(f"{name}: expected finite numbers >= 0, got {values[bad][0]} at {np.argmax(bad)}")
        prints[name] = values
    prints["ts_ns"] = np.maximum.accumulate(times) if len(times) else times
    return prints


@njit
def _tick_rule(price: Any, aggressor: Any, out: Any) -> None:
    side = 1
    for i in range(len(price)):
        if aggressor[i] != 0:
            side = 1 if aggressor[i] > 0 else -1
        elif i > 0 and price[i] != price[i - 1]:
            side = 1 if price[i] > price[i - 1] else -1
        out[i].side = side


@njit
def first_later(prints: Any, start: int, time_ns: int) -> int:
    """The first row from ``start`` on with a time strictly later; the number of rows where there is none.

    Times do not decrease. Steps double from ``start``, because the answer is mostly near it.
    """
    n = len(prints)
    low, step = start, 1
    while low + step < n and prints[low + step].ts_ns <= time_ns:
        low += step
        step *= 2
    high = min(low + step, n)
    while low < high:
        middle = (low + high) // 2
        if prints[middle].ts_ns <= time_ns:
            low = middle + 1
        else:
            high = middle
    return low
