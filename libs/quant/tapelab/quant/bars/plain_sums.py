"""Where plain bars end within a block of prints, and what they sum to: exactly in any order, or print by print.

A sum of doubles has one value, whatever its order, as long as every term and every partial sum is a multiple of
one power of two and less than 2**53 times it. Whole lots are such terms, and so are whole lots times prices on a grid
of a power of two. :func:`common_grid` finds out, per block, from the bits; the sums of such a block are taken as
whole numbers, which the compiler is free to put side by side. Every other block is summed print by print from the
bar's first, as :mod:`~tapelab.quant.bars.kernel` does.

Prints are given as rows ``start..stop`` of whole columns; counting rows without a sign and without slices spares the
compiler checks and reference counts, which cost more than the sums.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import njit
from tapelab.quant.bars.state import SIDE_SHARES, TICK, TIME, VOLUME

#: Prints whose measure is summed before looking for a bar's end; results do not depend on it.
STRIDE: Final = 16

#: Adding it to a whole number in [0, 2**52) leaves that number in the low 52 bits, below these twelve.
_WHOLE: Final = 2.0**52
_WHOLE_TOP: Final = 0x433
_LOW: Final = 2**52 - 1
#: A sum of n such numbers has n times those twelve bits, modulo 4096, on top: times this it is n, up to 4095.
_COUNT: Final = pow(_WHOLE_TOP, -1, 4096)
#: Prints that are looked at where the block before had no grid.
_FEW: Final = 16
_OCTAVE: Final = 2**52


@njit
def _bits(x: float) -> Any:
    return np.float64(x).view(np.int64)


@njit
def _int(x: Any) -> Any:
    return np.int64(x)


@njit
def _grid_of(price: Any, volume: Any, price_bits: Any, volume_bits: Any, start: int, stop: int, state: Any) -> float:
    first = price_bits[start]
    exponent = (first >> 52) - 1
    # Well within the prices that enter bars, as all that are within a factor of two then are.
    if not 1023 - 50 < exponent < 1023 + 50:
        return 0.0
    # Prices within a factor of two of the first: none has a smaller exponent than that, so the lowest bit any
    # of them sets is worth no less than it is there.
    lowest, highest = first - _OCTAVE, first + _OCTAVE
    outside = off = any_price = any_lots = lots = 0
    for i in range(np.uint64(start), np.uint64(stop)):
        p = price_bits[i]
        outside |= (p - lowest) | (highest - p) | volume_bits[i]
        any_price |= p
        v = volume[i] + _WHOLE
        off |= _bits(v - _WHOLE) ^ volume_bits[i]
        any_lots |= _bits(v)
        lots += _bits(v)
    # Another exponent than the constant's own: a volume out of range, or none.
    if outside < 0 or off != 0 or any_lots >> 52 != _WHOLE_TOP:
        return 0.0
    bits = (any_price & _LOW) | _OCTAVE
    grid = float(bits & -bits) * np.int64((exponent - 52) << 52).view(np.float64)
    lots -= (stop - start) * (_WHOLE_TOP << 52)
    dollar = state.dollar / grid
    if (
        dollar + 2.0 * price[start] / grid * float(lots) < _WHOLE
        and state.volume + lots < _WHOLE
        and dollar == np.floor(dollar)
        and state.volume == np.floor(state.volume)
        and state.buy_volume == np.floor(state.buy_volume)
        and state.sell_volume == np.floor(state.sell_volume)
    ):
        return grid
    return 0.0


@njit
def common_grid(price: Any, volume: Any, price_bits: Any, volume_bits: Any, start: int, stop: int, state: Any) -> float:
    """A power of two of which all prices are multiples, if these prints may enter bars and sum exactly; else 0."""
    # Where the prints before had none, these seldom have: a few of them say so at a small cost.
    few = min(start + _FEW, stop)
    if state.off_grid != 0 and _grid_of(price, volume, price_bits, volume_bits, start, few, state) == 0.0:
        return 0.0
    grid: float = _grid_of(price, volume, price_bits, volume_bits, start, stop, state)
    state.off_grid = grid == 0.0
    return grid


@njit
def _lots_of_strides(volume: Any, start: int, strides: int, to: Any) -> None:
    for k in range(strides):
        at = np.uint64(start + k * STRIDE)
        total = 0
        for i in range(at, at + np.uint64(STRIDE)):
            total += _bits(volume[i] + _WHOLE)
        to[k] = total & _LOW


@njit
def _money_of_strides(price: Any, volume: Any, start: int, strides: int, grid: float, to: Any) -> None:
    whole = _WHOLE * grid
    for k in range(strides):
        at = np.uint64(start + k * STRIDE)
        total = 0
        for i in range(at, at + np.uint64(STRIDE)):
            total += _bits(price[i] * volume[i] + whole)
        to[k] = total & _LOW


@njit
def _ends_on_grid(
    price: Any, volume: Any, start: int, stop: int, grid: float, state: Any, of_strides: Any, ends: Any
) -> int:
    strides = (stop - start) // STRIDE
    lots = state.kind == VOLUME
    if lots:
        unit = 1.0
        _lots_of_strides(volume, start, strides, of_strides)
    else:
        unit = 1.0 / grid
        _money_of_strides(price, volume, start, strides, grid, of_strides)
    threshold = _int(np.ceil(min(state.threshold * unit, 2.0**62)))
    total = _int((state.volume if lots else state.dollar) * unit)
    found = 0
    for k in range(strides):
        at = start + k * STRIDE
        while total + of_strides[k] >= threshold:
            # How many prints of the stride leave the bar open, counted without a branch nobody can guess.
            so_far = before = 0
            open_after = 0
            for i in range(np.uint64(at), np.uint64(at) + np.uint64(STRIDE)):
                measure = _int(volume[i] if lots else price[i] * volume[i] * unit)
                so_far += measure
                stays = total + so_far < threshold
                open_after += stays
                before += measure if stays else 0
            last = at + open_after
            ends[found] = last + 1
            found += 1
            total = -before - _int(volume[last] if lots else price[last] * volume[last] * unit)
        total += of_strides[k]
    for i in range(np.uint64(start + strides * STRIDE), np.uint64(stop)):
        total += _int(volume[i] if lots else price[i] * volume[i] * unit)
        if total >= threshold:
            ends[found] = _int(i) + 1
            found += 1
            total = 0
    return found


@njit
def interval_end(ts_open_ns: int, state: Any) -> int:
    """When the time bar ends whose first print has this clock."""
    end: int = state.open_ns + ((ts_open_ns - state.open_ns) // state.interval_ns + 1) * state.interval_ns
    return end


@njit
def _ends_in_time(clock: Any, start: int, stop: int, state: Any, ends: Any) -> int:
    found = 0
    at = start
    end = interval_end(state.ts_open_ns if state.n > 0 else clock[at], state)
    while clock[stop - 1] >= end:
        low, high = at, stop - 1
        while low < high:
            middle = (low + high) >> 1
            if clock[middle] >= end:
                high = middle
            else:
                low = middle + 1
        at = low
        ends[found] = at
        found += 1
        end = interval_end(clock[at], state)
    return found


@njit
def find_ends(
    clock: Any, price: Any, volume: Any, start: int, stop: int, grid: float, state: Any, of_strides: Any, ends: Any
) -> int:
    """How many bars end among these prints, at least one; ``ends`` takes the places of the prints after them.

    A volume or dollar bar's end is found ahead only where sums are exact.
    """
    if state.kind == TIME:
        return _ends_in_time(clock, start, stop, state, ends)
    if state.kind == TICK:
        each = np.int64(min(state.threshold, 2.0**62))
        found = 0
        end = start + each - state.n
        while end <= stop:
            ends[found] = end
            found += 1
            end += each
        return found
    return _ends_on_grid(price, volume, start, stop, grid, state, of_strides, ends)


@njit
def add_on_grid(
    price: Any, volume: Any, price_bits: Any, side: Any, start: int, stop: int, grid: float, state: Any
) -> None:
    """Take prints that sum exactly, 4095 at most, into the pending bar's sums, counts, high and low."""
    whole = _WHOLE * grid
    lots = money = bought = sold = 0
    most, least = state.high_bits, state.low_bits
    for i in range(np.uint64(start), np.uint64(stop)):
        p = price_bits[i]
        v = _bits(volume[i] + _WHOLE)
        money += _bits(price[i] * volume[i] + whole)
        s = _int(side[i])
        lots += v
        # The mask is all ones where buyers, or sellers, began the print.
        bought += v & (-s >> 63)
        sold += v & (s >> 63)
        most = max(most, p)
        least = min(least, p)
    state.high_bits, state.low_bits = most, least
    state.n += stop - start
    state.buy_n += (bought >> 52) * _COUNT & 4095
    state.sell_n += (sold >> 52) * _COUNT & 4095
    state.volume += lots & _LOW
    state.dollar += (money & _LOW) * grid
    state.buy_volume += bought & _LOW
    state.sell_volume += sold & _LOW


@njit
def add_in_order(
    price: Any, volume: Any, price_bits: Any, side: Any, start: int, stop: int, by_volume: float, by_dollar: float,
    state: Any,
) -> int:  # fmt: skip
    """The same for any prints, each sum print by print; the place after the print that reaches a limit, or stop.

    What buyers and sellers began is a factor from a table: it costs less than a branch nobody can guess, and
    changes no bit of a sum that began at zero. A limit that is not meant is NaN.
    """
    total, dollar, bought, sold = state.volume, state.dollar, state.buy_volume, state.sell_volume
    end = stop
    for i in range(np.uint64(start), np.uint64(stop)):
        v, s = volume[i], np.uint8(side[i])
        total += v
        dollar += price[i] * v
        bought += v * SIDE_SHARES[s, 0]
        sold += v * SIDE_SHARES[s, 1]
        if total >= by_volume or dollar >= by_dollar:
            end = _int(i) + 1
            break
    state.volume, state.dollar, state.buy_volume, state.sell_volume = total, dollar, bought, sold
    most, least = state.high_bits, state.low_bits
    buys = sells = 0
    for i in range(np.uint64(start), np.uint64(end)):
        most = max(most, price_bits[i])
        least = min(least, price_bits[i])
        buys += side[i] > 0
        sells += side[i] < 0
    state.high_bits, state.low_bits = most, least
    state.n += end - start
    state.buy_n += buys
    state.sell_n += sells
    return end
