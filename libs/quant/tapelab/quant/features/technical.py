"""Technical indicators: distance from vwap, RSI, MACD, Bollinger bands, support and resistance."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.features.lanes import RELATIVE_FLOOR
from tapelab.quant.features.rolling import (
    Slots,
    finite,
    moments_slots,
    push_max,
    push_moments,
    push_sum,
    push_wilder,
    ratio,
    share,
    sum_slots,
)
from tapelab.quant.features.spec import NEVER, ZERO_WHEN_EMPTY, ZERO_WHEN_FLAT, FeatureSpec, Normalisation

RSI: Final = 14  # bars
MACD: Final = (12, 26, 9)
BANDS: Final = 20
BAND_WIDTH: Final = 2.0  # standard deviations
VWAP: Final = 20
EXTREMES: Final = 60
#: Slots: day's dollar and volume, average gain and loss, three exponential averages, then the rings.
_FAST: Final = 4
_SLOW: Final = 5
_SIGNAL: Final = 6
_DOLLAR_AT: Final = 7
_VOLUME_AT: Final = _DOLLAR_AT + sum_slots(VWAP)
_BANDS_AT: Final = _VOLUME_AT + sum_slots(VWAP)
_HIGH_AT: Final = _BANDS_AT + moments_slots(BANDS)
_LOW_AT: Final = _HIGH_AT + sum_slots(EXTREMES)
SLOTS: Final = _LOW_AT + sum_slots(EXTREMES)

_BERKOWITZ: Final = "Berkowitz, Logue & Noser (1988), The total cost of transactions on the NYSE, Journal of Finance 43"
_APPEL: Final = "Appel (2005), Technical Analysis: Power Tools for Active Investors"
_BOLLINGER: Final = "Bollinger (2001), Bollinger on Bollinger Bands"
_SUPPORT: Final = "Osler (2000), Support for resistance: technical analysis and intraday exchange rates, FRBNY EPR 6"


def _technical(
    name: str,
    inputs: tuple[str, ...],
    window: int,
    unit: str,
    summary: str,
    source: str,
    *,
    nan_policy: str = NEVER,
    normalisation: Normalisation = Normalisation.SCALE,
) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family="technical",
        inputs=inputs,
        window=window,
        warmup=window,
        unit=unit,
        nan_policy=nan_policy,
        normalisation=normalisation,
        summary=summary,
        source=source,
    )


_MACD_TEXT: Final = f"{MACD[0]} and {MACD[1]} bars, begun at the day's first close"

SPECS: Final = (
    _technical(
        "vwap_day_gap",
        ("close", "dollar", "volume"),
        1,
        "log return",
        "ln(close / vwap of the day so far)",
        _BERKOWITZ,
        nan_policy="0 where nothing has traded",
    ),
    _technical(
        f"vwap_gap_{VWAP}",
        ("close", "dollar", "volume"),
        VWAP,
        "log return",
        f"ln(close / vwap of {VWAP} bars)",
        _BERKOWITZ,
        nan_policy="0 where nothing has traded",
    ),
    _technical(
        f"rsi_{RSI}",
        ("close",),
        RSI + 1,
        "share, -1 to 1",
        f"(average gain - average loss) / (average gain + average loss), Wilder's averages over {RSI} changes of the "
        "close: RSI / 50 - 1",
        "Wilder (1978), New Concepts in Technical Trading Systems",
        nan_policy=ZERO_WHEN_EMPTY,
        normalisation=Normalisation.NONE,
    ),
    _technical(
        "macd",
        ("close",),
        2 * MACD[1],
        "share of the price",
        f"(fast - slow exponential average of the close) / close, spans of {_MACD_TEXT}",
        _APPEL,
    ),
    _technical(
        "macd_histogram",
        ("close",),
        2 * MACD[1] + MACD[2],
        "share of the price",
        f"(MACD line - its exponential average of span {MACD[2]}) / close",
        _APPEL,
    ),
    _technical(
        f"bollinger_position_{BANDS}",
        ("close",),
        BANDS,
        "half band widths",
        f"(close - mean) / ({BAND_WIDTH:g} standard deviations) of the close over {BANDS} bars; 1 on the upper band",
        _BOLLINGER,
        nan_policy=ZERO_WHEN_FLAT,
        normalisation=Normalisation.NONE,
    ),
    _technical(
        f"bollinger_width_{BANDS}",
        ("close",),
        BANDS,
        "share of the mean",
        f"(upper - lower band) / mean of the close over {BANDS} bars",
        _BOLLINGER,
        normalisation=Normalisation.ZSCORE,
    ),
    _technical(
        f"resistance_gap_{EXTREMES}",
        ("high", "close"),
        EXTREMES,
        "log return",
        f"ln(highest high of {EXTREMES} bars / close)",
        _SUPPORT,
        normalisation=Normalisation.ZSCORE,
    ),
    _technical(
        f"support_gap_{EXTREMES}",
        ("low", "close"),
        EXTREMES,
        "log return",
        f"ln(close / lowest low of {EXTREMES} bars)",
        _SUPPORT,
        normalisation=Normalisation.ZSCORE,
    ),
)


@leaf
def _follow(slots: Slots, at: int, t: int, span: int, value: float) -> float:
    """Exponential average of a span, begun at its first value: ``a += 2 / (span + 1) * (value - a)``."""
    if t == 0:
        slots[at] = value
    else:
        slots[at] += 2.0 / (span + 1.0) * (value - slots[at])
    average: float = slots[at]
    return average


@leaf
def technical_row(bar: Any, t: int, previous: float, slots: Slots, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``previous`` is the previous close."""
    close = finite(bar.close)
    dollar = finite(bar.dollar)
    volume = max(0.0, finite(bar.volume))
    slots[0] += dollar
    slots[1] += volume
    raw[0] = finite(np.log(close / ratio(slots[0], slots[1])))
    dollars = push_sum(slots[_DOLLAR_AT:_VOLUME_AT], VWAP, t, dollar)
    raw[1] = finite(np.log(close / ratio(dollars, push_sum(slots[_VOLUME_AT:_BANDS_AT], VWAP, t, volume))))
    raw[2] = 0.0
    if t > 0:
        change = finite(close - previous)
        gain = push_wilder(slots[2:], RSI, t - 1, max(0.0, change))
        loss = push_wilder(slots[3:], RSI, t - 1, max(0.0, -change))
        raw[2] = share(gain - loss, gain + loss)
    line = _follow(slots, _FAST, t, MACD[0], close) - _follow(slots, _SLOW, t, MACD[1], close)
    raw[3] = ratio(line, close)
    raw[4] = ratio(line - _follow(slots, _SIGNAL, t, MACD[2], line), close)
    bands = slots[_BANDS_AT:_HIGH_AT]
    push_moments(bands, BANDS, t, close)
    mean = bands[2]
    deviation = np.sqrt(max(0.0, bands[3]) / min(t + 1, BANDS))
    raw[5] = 0.0
    raw[6] = 0.0
    if deviation > RELATIVE_FLOOR * abs(mean):
        raw[5] = finite((close - mean) / (BAND_WIDTH * deviation))
        raw[6] = ratio(2.0 * BAND_WIDTH * deviation, mean)
    raw[7] = finite(np.log(push_max(slots[_HIGH_AT:_LOW_AT], EXTREMES, t, finite(bar.high)) / close))
    raw[8] = finite(np.log(close / -push_max(slots[_LOW_AT:], EXTREMES, t, -finite(bar.low))))
