"""Running sums in two floats, whose differences are as exact as sums of their own.

What a window holds is the day's sum at its end less that before it. In one float, a print that dwarfs the others
would leave its rounding in every later window of the day; the rounding is kept here, in a second float, and taken
off. Knuth (1969), The Art of Computer Programming 2, 4.2.2; Dekker (1971), Numerische Mathematik 18.
"""

from __future__ import annotations

from tapelab.quant._numba import leaf


@leaf
def add(high: float, low: float, value: float) -> tuple[float, float]:
    """The sum ``high + low`` with a value added to it, as a pair again; exact but for the rounding of ``low``."""
    total = high + value
    back = total - high
    return total, low + ((high - (total - back)) + (value - back))
