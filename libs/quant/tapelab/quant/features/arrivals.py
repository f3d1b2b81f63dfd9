"""Arrival features: how long bars take, a self-exciting intensity in event time, and the weekday."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import Slots, finite, moments_slots, push_moments, ratio
from tapelab.quant.features.spec import NEVER, ZERO_WHEN_EMPTY, FeatureSpec, Normalisation

LONG: Final = 50  # bars
FAST_S: Final = 10.0  # time constants of the intensity's kernel
SLOW_S: Final = 120.0

#: Slots: intensity fast, intensity slow, previous close in ns less the session's open.
_MOMENTS_AT: Final = 3
SLOTS: Final = _MOMENTS_AT + moments_slots(LONG)

_DURATION: Final = "Engle & Russell (1998), Autoregressive conditional duration, Econometrica 66"
_HAWKES: Final = "Hawkes (1971), Spectra of some self-exciting and mutually exciting point processes, Biometrika 58"
_WEEKDAY: Final = "French (1980), Stock returns and the weekend effect, Journal of Financial Economics 8"


def _time(
    name: str,
    inputs: tuple[str, ...],
    window: int,
    unit: str,
    summary: str,
    source: str,
    *,
    nan_policy: str = NEVER,
    normalisation: Normalisation = Normalisation.ZSCORE,
) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family="time",
        inputs=inputs,
        window=window,
        warmup=window,
        unit=unit,
        nan_policy=nan_policy,
        normalisation=normalisation,
        summary=summary,
        source=source,
    )


SPECS: Final = (
    _time(
        "bar_duration",
        ("ts_open_ns", "ts_close_ns"),
        1,
        "ln(1 + ms)",
        "ln(1 + time from the bar's first print to its last in ms)",
        _DURATION,
    ),
    _time(
        f"duration_cv_{LONG}",
        ("ts_open_ns", "ts_close_ns"),
        LONG,
        "ratio",
        f"standard deviation / mean of the bars' durations over {LONG} bars",
        _DURATION,
        nan_policy=ZERO_WHEN_EMPTY,
    ),
    _time(
        "hawkes_intensity",
        ("ts_close_ns", "n"),
        1,
        "ln(1 + prints per s)",
        f"ln(1 + sum of n exp(-age / {FAST_S:g} s) / {FAST_S:g} s) over the day's bars, aged in event time from close "
        "to close",
        _HAWKES,
    ),
    _time(
        "hawkes_ratio",
        ("ts_close_ns", "n"),
        1,
        "ln ratio",
        f"ln of the intensity over {FAST_S:g} s against that over {SLOW_S:g} s, one print per {SLOW_S:g} s added "
        "to both",
        _HAWKES,
    ),
    *(
        _time(
            f"weekday_{name}",
            ("day",),
            1,
            "-1 to 1",
            f"{word} of the trading day's place in the week, Monday at 0",
            _WEEKDAY,
            normalisation=Normalisation.NONE,
        )
        for name, word in (("sin", "sine"), ("cos", "cosine"))
    ),
)


@leaf
def weekday(day: int) -> int:
    """0 for Monday to 6 for Sunday of a day YYYYMMDD of the Gregorian calendar (Sakamoto's method)."""
    year = day // 10000
    month = day // 100 % 100
    if month < 3:
        year -= 1
    # Days before each month in a year that begins in March, modulo 7.
    offsets = (0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4)
    offset = offsets[month - 1] if 1 <= month <= 12 else 0
    return (year + year // 4 - year // 100 + year // 400 + offset + day % 100 + 6) % 7


@leaf
def arrivals_row(bar: Any, t: int, slots: Slots, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``t`` counts the day's bars from 0."""
    duration_s = max(0.0, 1e-9 * float(bar.ts_close_ns - bar.ts_open_ns))
    raw[0] = np.log1p(1e3 * duration_s)
    moments = slots[_MOMENTS_AT:]
    push_moments(moments, LONG, t, duration_s)
    raw[1] = ratio(np.sqrt(max(0.0, moments[3]) / min(t + 1, LONG)), moments[2])
    # Since the session's open, so that a float64 holds it to the nanosecond.
    now = float(bar.ts_close_ns - bar.session_open_ns)
    age_s = max(0.0, 1e-9 * (now - slots[2])) if t > 0 else 0.0
    prints = max(0.0, float(bar.n))
    slots[0] = slots[0] * np.exp(-age_s / FAST_S) + prints
    slots[1] = slots[1] * np.exp(-age_s / SLOW_S) + prints
    slots[2] = now
    fast = slots[0] / FAST_S
    raw[2] = np.log1p(fast)
    raw[3] = finite(np.log((fast + 1.0 / SLOW_S) / (slots[1] / SLOW_S + 1.0 / SLOW_S)))
    angle = 2.0 * np.pi * (weekday(bar.day) / 7.0)
    raw[4] = np.sin(angle)
    raw[5] = np.cos(angle)
