"""The one loop that computes features: over a live bar each of many symbols or a whole tape, the same machine code.

Raw values of a stretch of bars come first, family by family, then their normalisation over all features at once.

Everything carried between bars of a symbol is one float64 vector, so a snapshot is its bytes; ``plan.py`` lays it
out. Counters are exact, being far below 2^53. The extension is what the families of ``extension.py`` carry; a set
that has none of their features does without. Behind the normalisers comes the ``DayContext``, the only part that
outlives its day, for a set that reads it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import leaf
from tapelab.quant.day_context import take_bar
from tapelab.quant.dtypes import BarFlag
from tapelab.quant.features import flow, price, timing
from tapelab.quant.features.extension import extension_row
from tapelab.quant.features.flow import flow_row
from tapelab.quant.features.lanes import Integers, Rows, normalise_lanes
from tapelab.quant.features.normalisers import normalised
from tapelab.quant.features.plan import BASE, DAY_LOCAL, EXTENSION, FLOW, PRICE, VOLATILITY, Plan
from tapelab.quant.features.price import price_row
from tapelab.quant.features.rolling import Slots, finite
from tapelab.quant.features.seasonal import seasonal_row
from tapelab.quant.features.spec import NormaliserKind
from tapelab.quant.features.timing import time_row
from tapelab.quant.features.volatility import volatility_row

DAY: Final = 0
BARS: Final = 1
GAP: Final = 2
PREVIOUS_CLOSE: Final = 3

#: Bars of one symbol and day whose raw values are computed before they are scaled; they stay in the first cache.
STRETCH: Final = 32

Floats = npt.NDArray[np.float32]

_FLOW_RAW: Final = len(price.SPECS)
_TIME_RAW: Final = _FLOW_RAW + len(flow.SPECS)
_VOLATILITY_RAW: Final = _TIME_RAW + len(timing.SPECS)
_EXTENSION_RAW: Final = len(BASE)
_SEASONAL_RAW: Final = len(DAY_LOCAL)

_AFTER_GAP: Final = int(BarFlag.AFTER_GAP)
_ROLLING: Final = int(NormaliserKind.ROLLING)
_LARGEST: Final = float(np.finfo(np.float32).max)


@leaf
def advance(
    bars: Any,
    symbols: npt.NDArray[np.int64],
    tick_sizes: Slots,
    plan: Plan,
    extended: bool | None,
    states: Rows,
    values: Floats,
    warm: npt.NDArray[np.bool_],
    after_gap: npt.NDArray[np.bool_],
    raw: Rows,
    scratch: Rows,
) -> bool:
    """Take n bars and write n feature rows; False, and nothing done, where a number of a symbol is out of range.

    Args:
        bars: ``BAR_DTYPE``, shape (n,), those of each symbol in order.
        symbols: which symbol each is of, shape (n,).
        tick_sizes: price units per tick of each symbol, shape (S,).
        plan: what to compute.
        extended: None leaves out the families of ``extension.py``, and their compilation.
        states: carried, shape (S, plan.slots), changed in place.
        values: out, shape (n, F); 0 where a feature is not defined yet.
        warm: out, shape (n,).
        after_gap: out, shape (n,); true from a gap until warm again.
        raw: scratch, shape (STRETCH, raw columns).
        scratch: zero, shape (SCRATCH, lanes).
    """
    for symbol in symbols:
        if not 0 <= symbol < len(tick_sizes):
            return False
    start = 0
    while start < len(bars):
        bar, symbol = bars[start], symbols[start]
        state = states[symbol]
        stop = start + 1
        while (
            stop < len(bars)
            and stop - start < STRETCH
            and symbols[stop] == symbol
            and bars[stop].day == bar.day
            and (bars[stop].flags & _AFTER_GAP) == 0
        ):
            stop += 1
        gap = (bar.flags & _AFTER_GAP) != 0
        if gap or state[BARS] == 0.0 or float(bar.day) != state[DAY]:
            state[: plan.context] = 0.0
            state[DAY] = bar.day
            state[GAP] = 1.0 if gap else 0.0
            state[PREVIOUS_CLOSE] = bar.open
        t = int(state[BARS])
        _raw_rows(bars[start:stop], t, tick_sizes[symbol], plan.normalisers, plan.context, extended, state, raw)
        out = values[start:stop]
        _emit_plain(t, plan.plain_columns, plan.plain_places, plan.plain_warmups, raw, out)
        slots = state[plan.normalisers : plan.context]
        if len(plan.modes) == 0:
            pass
        elif plan.kind == _ROLLING:
            normalise_lanes(
                raw,
                t,
                plan.columns,
                plan.places,
                plan.modes,
                plan.edges,
                plan.lane_warmups,
                plan.lane_places,
                plan.window,
                plan.minimum,
                plan.clip,
                slots.reshape(plan.each, len(plan.modes)),
                scratch,
                out,
            )
        else:
            _normalise_each(
                raw,
                t,
                plan.columns,
                plan.places,
                plan.modes,
                plan.warmups,
                plan.window,
                plan.minimum,
                plan.clip,
                plan.kind,
                plan.shape,
                slots.reshape(len(plan.modes), plan.each),
                out,
            )
        for i in range(start, stop):
            t += 1
            warm[i] = t >= plan.warmup
            if warm[i]:
                state[GAP] = 0.0
            after_gap[i] = state[GAP] != 0.0
        start = stop
    return True


@leaf
def _raw_rows(
    bars: Any,
    t: int,
    tick_size: float,
    normalisers: int,
    context: int,
    extended: bool | None,
    state: Slots,
    raw: Rows,
) -> None:
    """The raw values of every family, for bars of one day."""
    for i in range(len(bars)):
        bar, row = bars[i], raw[i]
        previous = state[PREVIOUS_CLOSE]
        log_return = finite(np.log(bar.close / previous))
        change = finite((bar.close - previous) / tick_size)
        price_row(bar, t, log_return, state[PRICE:FLOW], row[:_FLOW_RAW])
        flow_row(bar, t, log_return, state[FLOW:VOLATILITY], row[_FLOW_RAW:_TIME_RAW])
        time_row(bar, row[_TIME_RAW:_VOLATILITY_RAW])
        volatility_row(bar, t, log_return, change, tick_size, state[VOLATILITY:EXTENSION], row[_VOLATILITY_RAW:])
        if extended is not None:
            slots = state[EXTENSION:normalisers]
            extension_row(bar, t, previous, log_return, change, tick_size, slots, row[_EXTENSION_RAW:])
        if context < len(state):
            seasonal_row(bar, tick_size, state[context:], row[_SEASONAL_RAW:])
            take_bar(bar, state[context:])
        t += 1
        state[BARS] = t
        state[PREVIOUS_CLOSE] = bar.close


@leaf
def _emit_plain(t: int, columns: Integers, places: Integers, warmups: Integers, raw: Rows, values: Floats) -> None:
    """Features that are not scaled."""
    for i in range(len(values)):
        for j in range(len(columns)):
            # A row is finite in float32 too, whatever its prints were.
            value = min(_LARGEST, max(-_LARGEST, finite(raw[i, columns[j]])))
            values[i, places[j]] = value if t + i + 1 >= warmups[j] else 0.0


@leaf
def _normalise_each(
    raw: Rows,
    t: int,
    columns: Integers,
    places: Integers,
    modes: Integers,
    warmups: Integers,
    window: int,
    minimum: int,
    clip: float,
    kind: int,
    shape: float,
    state: Rows,
    values: Floats,
) -> None:
    """Any normaliser but the rolling one: one feature after the other."""
    for i in range(len(values)):
        for j in range(len(columns)):
            # Position among the values of this feature that are defined.
            u = t + i + 1 - warmups[j]
            emitted = 0.0
            if u >= 0:
                value = finite(raw[i, columns[j]])
                emitted = normalised(value, state[j], u, window, minimum, modes[j], kind, shape, clip)
            values[i, places[j]] = emitted
