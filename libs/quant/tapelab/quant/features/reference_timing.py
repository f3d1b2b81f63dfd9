"""The features of time beyond the set ``core`` again, slow and readable."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone
from typing import Final

import numpy as np

from tapelab.quant.features.reference_parts import Day, Definition, Floats, ratio


def _durations_s(day: Day) -> Floats:
    durations: Floats = np.maximum(0.0, (day["ts_close_ns"] - day["ts_open_ns"]) / 1e9)
    return durations


def _bar_duration(day: Day, _tick: float) -> float:
    return math.log(1.0 + 1e3 * float(_durations_s(day)[-1]))


def _duration_cv(day: Day, _tick: float) -> float:
    recent = _durations_s(day)[-50:]
    return ratio(float(recent.std()), float(recent.mean()))


def _intensity(day: Day, constant_s: float) -> float:
    ages = (day["ts_close_ns"][-1] - day["ts_close_ns"]) / 1e9
    return float((day["n"] * np.exp(-ages / constant_s)).sum() / constant_s)


def _hawkes_intensity(day: Day, _tick: float) -> float:
    return math.log(1.0 + _intensity(day, 10.0))


def _hawkes_ratio(day: Day, _tick: float) -> float:
    return math.log((_intensity(day, 10.0) + 1.0 / 120.0) / (_intensity(day, 120.0) + 1.0 / 120.0))


def _weekday_angle(day: Day) -> float:
    written = str(int(day["day"][-1]))
    return 2.0 * math.pi * date(int(written[:4]), int(written[4:6]), int(written[6:])).weekday() / 7.0


def _weekday_sin(day: Day, _tick: float) -> float:
    return math.sin(_weekday_angle(day))


def _weekday_cos(day: Day, _tick: float) -> float:
    return math.cos(_weekday_angle(day))


def _hour_angle(day: Day) -> float:
    offset = timezone(timedelta(seconds=float(day["utc_offset_s"][-1])))
    local = datetime.fromtimestamp(int(day["ts_close_ns"][-1]) // 1_000_000_000, offset)
    seconds = local.hour * 3_600 + local.minute * 60 + local.second + int(day["ts_close_ns"][-1]) % 1_000_000_000 / 1e9
    return 2.0 * math.pi * seconds / 86_400.0


def _hour_sin(day: Day, _tick: float) -> float:
    return math.sin(_hour_angle(day))


def _hour_cos(day: Day, _tick: float) -> float:
    return math.cos(_hour_angle(day))


#: Definition of each, by name.
DEFINITIONS: Final[dict[str, Definition]] = {
    "bar_duration": _bar_duration,
    "duration_cv_50": _duration_cv,
    "hawkes_intensity": _hawkes_intensity,
    "hawkes_ratio": _hawkes_ratio,
    "weekday_sin": _weekday_sin,
    "weekday_cos": _weekday_cos,
    "hour_sin": _hour_sin,
    "hour_cos": _hour_cos,
}
