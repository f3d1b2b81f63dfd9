"""Volatility and liquidity features."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import (
    Slots,
    finite,
    moments_slots,
    pair_slots,
    push_moments,
    push_pair,
    push_sum,
    ratio,
    sum_slots,
)
from tapelab.quant.features.spec import NEVER, ZERO_WHEN_EMPTY, ZERO_WHEN_FLAT, FeatureSpec, Normalisation

SHORT: Final = 20  # bars
LONG: Final = 50
#: Covariances within rounding of zero, in squared ticks, count as zero.
ROLL_FLOOR: Final = 1e-9
#: Traded value that Amihud's ratio is told per.
AMIHUD_UNIT: Final = 1e6

_REALISED_AT: Final = 1
_PARKINSON_AT: Final = _REALISED_AT + sum_slots(SHORT)
_VOV_AT: Final = _PARKINSON_AT + sum_slots(SHORT)
_AMIHUD_AT: Final = _VOV_AT + moments_slots(LONG)
_ROLL_AT: Final = _AMIHUD_AT + sum_slots(LONG)
SLOTS: Final = _ROLL_AT + pair_slots(LONG)


def level(
    name: str,
    inputs: tuple[str, ...],
    window: int,
    unit: str,
    summary: str,
    source: str,
    *,
    nan_policy: str = NEVER,
    warmup: int | None = None,
) -> FeatureSpec:
    """A feature of size or dispersion, scaled by its z-score; warm once its window is full, unless said."""
    return FeatureSpec(
        name=name,
        family="volatility",
        inputs=inputs,
        window=window,
        warmup=warmup or window,
        unit=unit,
        nan_policy=nan_policy,
        normalisation=Normalisation.ZSCORE,
        summary=summary,
        source=source,
    )


SPECS: Final = (
    level(
        "range_ticks",
        ("high", "low"),
        1,
        "ticks",
        "(high - low) / tick size",
        "Alizadeh, Brandt & Diebold (2002), Range-based estimation of stochastic volatility models, J. Finance 57",
    ),
    level(
        f"realised_vol_{SHORT}",
        ("realised_var",),
        SHORT,
        "log return",
        f"square root of the mean realised variance of {SHORT} bars",
        "Andersen, Bollerslev, Diebold & Labys (2003), Modeling and forecasting realized volatility, Econometrica 71",
    ),
    level(
        f"parkinson_{SHORT}",
        ("high", "low"),
        SHORT,
        "log return",
        f"square root of the mean of ln(high / low)^2 / (4 ln 2) over {SHORT} bars",
        "Parkinson (1980), The extreme value method for estimating the variance of the rate of return, J. Business 53",
    ),
    level(
        f"vol_of_vol_{LONG}",
        ("realised_var",),
        LONG,
        "ratio",
        f"standard deviation / mean of the bars' realised volatility over {LONG} bars",
        "Corsi, Mittnik, Pigorsch & Pigorsch (2008), The volatility of realized volatility, Econometric Reviews 27",
        nan_policy=ZERO_WHEN_FLAT,
    ),
    level(
        "rv_ratio",
        ("rv_30s", "rv_5m", "close"),
        1,
        "ln ratio",
        "ln of the realised variance rate over 30 s against 5 min, a one-tick move per 30 s added to both",
        "Corsi (2009), A simple approximate long-memory model of realized volatility, J. Financial Econometrics 7",
    ),
    level(
        f"amihud_{LONG}",
        ("open", "close", "dollar"),
        LONG,
        "|log return| per million traded",
        f"mean of |log return| / traded value over {LONG} bars",
        "Amihud (2002), Illiquidity and stock returns, Journal of Financial Markets 5",
        nan_policy=ZERO_WHEN_EMPTY,
    ),
    level(
        f"roll_spread_{LONG}",
        ("open", "close"),
        LONG + 1,
        "ticks",
        f"2 sqrt(-cov(price change, previous price change)) over {LONG} bars",
        "Roll (1984), A simple implicit measure of the effective bid-ask spread, Journal of Finance 39",
        nan_policy="0 where the covariance is not negative",
    ),
)


@leaf
def volatility_row(
    bar: Any, t: int, log_return: float, change: float, tick_size: float, slots: Slots, raw: Slots
) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``t`` counts the day's bars from 0.

    ``change`` is the close less the previous one, in ticks.
    """
    short = min(t + 1, SHORT)
    long = min(t + 1, LONG)
    raw[0] = finite((bar.high - bar.low) / tick_size)
    variance = max(0.0, finite(bar.realised_var))
    raw[1] = np.sqrt(push_sum(slots[_REALISED_AT:_PARKINSON_AT], SHORT, t, variance) / short)
    spread = finite(np.log(bar.high / bar.low))
    ranges = push_sum(slots[_PARKINSON_AT:_VOV_AT], SHORT, t, spread * spread)
    raw[2] = np.sqrt(ranges / (short * 4.0 * np.log(2.0)))
    vov = slots[_VOV_AT:_AMIHUD_AT]
    push_moments(vov, LONG, t, np.sqrt(variance))
    raw[3] = ratio(np.sqrt(max(0.0, vov[3]) / long), vov[2])
    # Without this floor the ratio of two nearly still windows would be noise.
    floor = (tick_size / bar.close) * (tick_size / bar.close)
    raw[4] = finite(np.log(10.0 * (bar.rv_30s + floor) / (bar.rv_5m + 10.0 * floor)))
    illiquidity = ratio(abs(log_return) * AMIHUD_UNIT, bar.dollar)
    raw[5] = push_sum(slots[_AMIHUD_AT:_ROLL_AT], LONG, t, illiquidity) / long
    raw[6] = 0.0
    if t > 0:
        roll = slots[_ROLL_AT:]
        push_pair(roll, LONG, t - 1, change, slots[0])
        covariance = roll[5] / min(t, LONG)
        if covariance < -ROLL_FLOOR:
            raw[6] = 2.0 * np.sqrt(-covariance)
    slots[0] = change
