"""The one loop that computes features: over one live bar or a whole tape, the same machine code.

Everything carried between bars is one float64 vector, so a snapshot is its bytes. Its layout is
``[day, bars of the day, gap pending, previous close | price | flow | volatility | extension | normalisers]``;
counters are exact, being far below 2^53. The extension is what the families of ``extension.py`` carry; a set
that has none of their features does without. Behind the normalisers comes the ``DayContext``, the only part that
outlives its day, for a set that reads it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit
from tapelab.quant.day_context import CONTEXT_SLOTS, take_bar
from tapelab.quant.dtypes import BarFlag
from tapelab.quant.features import extension, flow, price, seasonal, timing, volatility
from tapelab.quant.features.extension import extension_row
from tapelab.quant.features.flow import flow_row
from tapelab.quant.features.normalisers import normalised, normaliser_slots
from tapelab.quant.features.price import price_row
from tapelab.quant.features.rolling import Slots, finite
from tapelab.quant.features.seasonal import seasonal_row
from tapelab.quant.features.spec import FeatureSpec, Normalisation, Normaliser
from tapelab.quant.features.timing import time_row
from tapelab.quant.features.volatility import volatility_row

#: The features that every bar's row computes, those that need their own day alone, and every feature the kernel
#: knows, in the order of raw columns.
BASE: Final[tuple[FeatureSpec, ...]] = (*price.SPECS, *flow.SPECS, *timing.SPECS, *volatility.SPECS)
DAY_LOCAL: Final[tuple[FeatureSpec, ...]] = (*BASE, *extension.SPECS)
CATALOGUE: Final[tuple[FeatureSpec, ...]] = (*DAY_LOCAL, *seasonal.SPECS)
RAW_COLUMNS: Final = len(CATALOGUE)

DAY: Final = 0
BARS: Final = 1
GAP: Final = 2
PREVIOUS_CLOSE: Final = 3
_PRICE: Final = 4
_FLOW: Final = _PRICE + price.SLOTS
_VOLATILITY: Final = _FLOW + flow.SLOTS
_EXTENSION: Final = _VOLATILITY + volatility.SLOTS

_FLOW_RAW: Final = len(price.SPECS)
_TIME_RAW: Final = _FLOW_RAW + len(flow.SPECS)
_VOLATILITY_RAW: Final = _TIME_RAW + len(timing.SPECS)

_EXTENSION_RAW: Final = len(BASE)
_SEASONAL_RAW: Final = len(DAY_LOCAL)

_AFTER_GAP: Final = int(BarFlag.AFTER_GAP)
_NONE: Final = int(Normalisation.NONE)
_LARGEST: Final = float(np.finfo(np.float32).max)


def normalisers_at(extended: bool) -> int:
    """Where the normalisers' part of the state begins, with the extension or without."""
    return _EXTENSION + (extension.SLOTS if extended else 0)


def context_at(n_features: int, normaliser: Normaliser, extended: bool) -> int:
    """Where the state of a feature set that begins afresh with each day ends, and the day context begins."""
    return normalisers_at(extended) + n_features * normaliser_slots(normaliser)


def state_slots(n_features: int, normaliser: Normaliser, extended: bool, seasonal: bool) -> int:
    """Length of the carried state of a feature set."""
    return context_at(n_features, normaliser, extended) + (CONTEXT_SLOTS if seasonal else 0)


@njit
def advance(
    bars: Any,
    tick_size: float,
    columns: npt.NDArray[np.int64],
    modes: npt.NDArray[np.int64],
    warmups: npt.NDArray[np.int64],
    warmup: int,
    window: int,
    minimum: int,
    clip: float,
    kind: int,
    shape: float,
    each: int,
    extended: bool | None,
    normalisers: int,
    context: int,
    state: Slots,
    values: npt.NDArray[np.float32],
    warm: npt.NDArray[np.bool_],
    after_gap: npt.NDArray[np.bool_],
) -> None:
    """Take n bars and write n feature rows.

    Args:
        bars: ``BAR_DTYPE``, shape (n,), in order.
        tick_size: price units per tick.
        columns: raw column of each emitted feature, shape (F,).
        modes: its ``Normalisation``, shape (F,).
        warmups: bars from which its raw value is defined, shape (F,).
        warmup: bars from which every feature is defined.
        window: bars of the normaliser.
        minimum: earlier values the normaliser needs.
        clip: bound of a normalised value.
        kind: its ``NormaliserKind``.
        shape: its tail or decay.
        each: floats of state per feature.
        extended: None leaves out the families of ``extension.py``, and their compilation.
        normalisers: :func:`normalisers_at` of it.
        context: :func:`context_at`; the state ends there for a set that reads no day context.
        state: carried, changed in place.
        values: out, shape (n, F); 0 where a feature is not defined yet.
        warm: out, shape (n,).
        after_gap: out, shape (n,); true from a gap until warm again.
    """
    raw = np.zeros(RAW_COLUMNS)
    for i in range(len(bars)):
        bar = bars[i]
        gap = (bar.flags & _AFTER_GAP) != 0
        if gap or state[BARS] == 0.0 or float(bar.day) != state[DAY]:
            state[:context] = 0.0
            state[DAY] = bar.day
            state[GAP] = 1.0 if gap else 0.0
            state[PREVIOUS_CLOSE] = bar.open
        t = int(state[BARS])
        previous = state[PREVIOUS_CLOSE]
        log_return = finite(np.log(bar.close / previous))
        change = finite((bar.close - previous) / tick_size)
        price_row(bar, t, log_return, state[_PRICE:_FLOW], raw[:_FLOW_RAW])
        flow_row(bar, t, log_return, state[_FLOW:_VOLATILITY], raw[_FLOW_RAW:_TIME_RAW])
        time_row(bar, raw[_TIME_RAW:_VOLATILITY_RAW])
        volatility_row(bar, t, log_return, change, tick_size, state[_VOLATILITY:_EXTENSION], raw[_VOLATILITY_RAW:])
        if extended is not None:
            extension_row(
                bar, t, previous, log_return, change, tick_size, state[_EXTENSION:normalisers], raw[_EXTENSION_RAW:]
            )
        if context < len(state):
            seasonal_row(bar, tick_size, state[context:], raw[_SEASONAL_RAW:])
            take_bar(bar, state[context:])
        for j in range(len(columns)):
            # Position among the values of this feature that are defined.
            u = t + 1 - warmups[j]
            emitted = 0.0
            if u >= 0:
                value = finite(raw[columns[j]])
                if modes[j] == _NONE:
                    # A row is finite in float32 too, whatever its prints were.
                    emitted = min(_LARGEST, max(-_LARGEST, value))
                else:
                    slots = state[normalisers + j * each : normalisers + (j + 1) * each]
                    emitted = normalised(value, slots, u, window, minimum, modes[j], kind, shape, clip)
            values[i, j] = emitted
        state[BARS] = t + 1
        state[PREVIOUS_CLOSE] = bar.close
        warm[i] = t + 1 >= warmup
        if warm[i]:
            state[GAP] = 0.0
        after_gap[i] = state[GAP] != 0.0
