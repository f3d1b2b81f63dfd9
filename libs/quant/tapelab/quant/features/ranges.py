"""Volatility from ranges, realised and bipower variance, and spreads from highs and lows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import Slots, finite, push_sum, push_wilder, ratio, sum_slots
from tapelab.quant.features.spec import ZERO_WHEN_EMPTY
from tapelab.quant.features.volatility import ROLL_FLOOR, level

ATR: Final = 14  # bars
SHORT: Final = 20
LONG: Final = 60

_SUM: Final = sum_slots(SHORT)
#: Slots: Wilder average, previous |return|, previous high, low, close - mid in ticks; then one ring each.
_GARMAN_KLASS_AT: Final = 5
_ROGERS_SATCHELL_AT: Final = _GARMAN_KLASS_AT + _SUM
_SQUARES_AT: Final = _ROGERS_SATCHELL_AT + _SUM
_BIPOWER_AT: Final = _SQUARES_AT + _SUM
_CORWIN_SCHULTZ_AT: Final = _BIPOWER_AT + _SUM
_ABDI_RANALDO_AT: Final = _CORWIN_SCHULTZ_AT + _SUM
_LONG_AT: Final = _ABDI_RANALDO_AT + _SUM
SLOTS: Final = _LONG_AT + sum_slots(LONG)

_CS: Final = 3.0 - 2.0 * 2.0**0.5
_OHLC: Final = ("open", "high", "low", "close")


_BIPOWER: Final = "Barndorff-Nielsen & Shephard (2004), Power and bipower variation, J. Financial Econometrics 2"

SPECS: Final = (
    level(
        f"atr_{ATR}",
        ("high", "low", "close"),
        ATR + 1,
        "ticks",
        f"Wilder's average over {ATR} bars of max(high, previous close) - min(low, previous close)",
        "Wilder (1978), New Concepts in Technical Trading Systems",
    ),
    level(
        f"garman_klass_{SHORT}",
        _OHLC,
        SHORT,
        "log return",
        f"square root of the mean of ln(high / low)^2 / 2 - (2 ln 2 - 1) ln(close / open)^2 over {SHORT} bars",
        "Garman & Klass (1980), On the estimation of security price volatilities from historical data, J. Business 53",
    ),
    level(
        f"rogers_satchell_{SHORT}",
        _OHLC,
        SHORT,
        "log return",
        "square root of the mean of ln(high / close) ln(high / open) + ln(low / close) ln(low / open) over "
        f"{SHORT} bars",
        "Rogers & Satchell (1991), Estimating variance from high, low and closing prices, Annals of Applied Prob. 1",
    ),
    level(
        f"return_vol_{SHORT}",
        ("open", "close"),
        SHORT,
        "log return",
        f"square root of the mean squared log return of {SHORT} bars",
        "Andersen, Bollerslev, Diebold & Labys (2003), Modeling and forecasting realized volatility, Econometrica 71",
    ),
    level(
        f"bipower_vol_{SHORT}",
        ("open", "close"),
        SHORT + 1,
        "log return",
        f"square root of pi / 2 times the mean of |log return| |previous log return| over {SHORT} bars",
        _BIPOWER,
    ),
    level(
        f"jump_share_{SHORT}",
        ("open", "close"),
        SHORT + 1,
        "share, 0 to 1",
        f"max(0, 1 - bipower variance / realised variance) over {SHORT} bars",
        _BIPOWER,
        nan_policy=ZERO_WHEN_EMPTY,
    ),
    level(
        f"realised_vol_{LONG}",
        ("realised_var",),
        LONG,
        "log return",
        f"square root of the mean realised variance of {LONG} bars",
        "Andersen, Bollerslev, Diebold & Labys (2003), Modeling and forecasting realized volatility, Econometrica 71",
    ),
    level(
        f"corwin_schultz_{SHORT}",
        ("high", "low"),
        SHORT + 1,
        "share of the price",
        f"mean over {SHORT} pairs of bars of the high-low spread estimate, negative ones counted as 0",
        "Corwin & Schultz (2012), A simple way to estimate bid-ask spreads from daily high and low prices, J. Fin. 67",
    ),
    level(
        f"abdi_ranaldo_{SHORT}",
        ("high", "low", "close"),
        SHORT + 1,
        "ticks",
        "2 sqrt(mean of (previous close - previous mid) (previous close - mid)), mid = (high + low) / 2, over "
        f"{SHORT} bars",
        "Abdi & Ranaldo (2017), A simple estimation of bid-ask spreads from daily close, high and low prices, RFS 30",
        nan_policy="0 where the mean is not positive",
    ),
)


@leaf
def pair_spread(high: float, low: float, previous_high: float, previous_low: float) -> float:
    """Corwin & Schultz's spread of two successive bars, as a share of the price; 0 where it is negative."""
    now = np.log(high / low)
    before = np.log(previous_high / previous_low)
    both = np.log(max(high, previous_high) / min(low, previous_low))
    beta = now * now + before * before
    alpha = (np.sqrt(2.0 * beta) - np.sqrt(beta)) / _CS - np.sqrt(both * both / _CS)
    growth = np.exp(alpha)
    return max(0.0, finite(2.0 * (growth - 1.0) / (1.0 + growth)))


@leaf
def ranges_row(
    bar: Any, t: int, previous: float, log_return: float, tick_size: float, slots: Slots, raw: Slots
) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``previous`` is the previous close."""
    short = min(t + 1, SHORT)
    pairs = min(max(t, 1), SHORT)
    raw[0] = 0.0
    if t > 0:
        true_range = finite((max(bar.high, previous) - min(bar.low, previous)) / tick_size)
        raw[0] = push_wilder(slots[:1], ATR, t - 1, true_range)
    span = finite(np.log(bar.high / bar.low))
    body = finite(np.log(bar.close / bar.open))
    garman_klass = 0.5 * span * span - (2.0 * np.log(2.0) - 1.0) * body * body
    total = push_sum(slots[_GARMAN_KLASS_AT:_ROGERS_SATCHELL_AT], SHORT, t, garman_klass)
    raw[1] = np.sqrt(max(0.0, total) / short)
    rogers_satchell = np.log(bar.high / bar.close) * np.log(bar.high / bar.open)
    rogers_satchell += np.log(bar.low / bar.close) * np.log(bar.low / bar.open)
    total = push_sum(slots[_ROGERS_SATCHELL_AT:_SQUARES_AT], SHORT, t, finite(rogers_satchell))
    raw[2] = np.sqrt(max(0.0, total) / short)
    squares = push_sum(slots[_SQUARES_AT:_BIPOWER_AT], SHORT, t, log_return * log_return)
    raw[3] = np.sqrt(squares / short)
    raw[4] = 0.0
    raw[5] = 0.0
    raw[7] = 0.0
    raw[8] = 0.0
    size = abs(log_return)
    mid = finite((0.5 * (bar.high + bar.low)) / tick_size)
    close = finite(bar.close / tick_size)
    if t > 0:
        bipower = push_sum(slots[_BIPOWER_AT:_CORWIN_SCHULTZ_AT], SHORT, t - 1, size * slots[1]) * (0.5 * np.pi)
        raw[4] = np.sqrt(bipower / pairs)
        raw[5] = max(0.0, 1.0 - ratio(bipower, squares)) if squares > 0.0 else 0.0
        spread = pair_spread(bar.high, bar.low, slots[2], slots[3])
        raw[7] = push_sum(slots[_CORWIN_SCHULTZ_AT:_ABDI_RANALDO_AT], SHORT, t - 1, spread) / pairs
        product = finite(slots[4] * (previous / tick_size - mid))
        mean = push_sum(slots[_ABDI_RANALDO_AT:_LONG_AT], SHORT, t - 1, product) / pairs
        raw[8] = 2.0 * np.sqrt(mean) if mean > ROLL_FLOOR else 0.0
    slots[1] = size
    slots[2] = bar.high
    slots[3] = bar.low
    slots[4] = close - mid
    variance = max(0.0, finite(bar.realised_var))
    raw[6] = np.sqrt(push_sum(slots[_LONG_AT:], LONG, t, variance) / min(t + 1, LONG))
