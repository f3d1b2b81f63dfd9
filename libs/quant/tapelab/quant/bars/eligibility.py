"""Whether all prints of a block enter bars as they come, found without a branch per print.

Prints are given as rows ``start..stop`` of whole columns, counted without a sign, which spares the compiler checks.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import leaf
from tapelab.quant.bars.rules import EXCLUDED_FLAGS, LAST_TS_NS, LEAST, MOST

#: Bit pattern of infinity: finite numbers above zero are the integers between 0 and this one, in order.
INF_BITS: Final = 0x7FF0_0000_0000_0000
_LEAST_BITS: Final = int(np.float64(LEAST).view(np.int64))
_MOST_BITS: Final = int(np.float64(MOST).view(np.int64))


def first_run(allowed: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """First and last of the lowest unbroken run of trade types that enter bars."""
    first = int(np.argmax(allowed))
    run = allowed[first:]
    return first, first + (len(run) if run.all() else int(np.argmin(run))) - 1


@leaf
def in_order(ts_ns: Any, start: int, stop: int, day: Any) -> bool:
    """Whether no event time goes backwards and all lie in the session."""
    backwards = 0
    for i in range(np.uint64(start), np.uint64(stop - 1)):
        later = ts_ns[i + np.uint64(1)]
        # A difference of two times of the same sign cannot overflow.
        backwards |= (later - ts_ns[i]) | later
    return (
        backwards >= 0
        and ts_ns[start] >= max(day.clock_ns, day.open_ns, 0)
        and ts_ns[stop - 1] < min(day.close_ns, LAST_TS_NS)
    )


@leaf
def none_barred(
    trade_type: Any, flags: Any, start: int, stop: int, first_type: int, last_type: int, allowed: Any
) -> bool:
    """Whether every print's type and flags let it into bars; the types given are :func:`first_run`'s."""
    marked = np.uint16(0)
    for i in range(np.uint64(start), np.uint64(stop)):
        marked |= flags[i]
    if (marked & EXCLUDED_FLAGS) != 0:
        return False
    first, last = np.uint8(first_type), np.uint8(last_type - first_type)
    above = np.uint8(0)
    for i in range(np.uint64(start), np.uint64(stop)):
        above = max(above, np.uint8(trade_type[i] - first))
    if above <= last:
        return True
    barred = 0
    for i in range(np.uint64(start), np.uint64(stop)):
        barred |= not allowed[trade_type[i]]
    return barred == 0


@leaf
def all_sound(price_bits: Any, volume_bits: Any, start: int, stop: int) -> bool:
    """Whether every price and volume lets its print into bars; false, too, where a volume is minus zero."""
    wrong = 0
    for i in range(np.uint64(start), np.uint64(stop)):
        # Negative where a price is not in [LEAST, MOST] or a volume not in [+0, MOST].
        wrong |= (price_bits[i] - _LEAST_BITS) | (_MOST_BITS - price_bits[i])
        wrong |= volume_bits[i] | (_MOST_BITS - volume_bits[i])
    return wrong >= 0
