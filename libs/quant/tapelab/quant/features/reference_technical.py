"""The features of the technical family beyond the set ``core`` again, slow and readable."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from tapelab.quant.features.reference_parts import Day, Definition, Floats, previous_close, ratio, share, wilder


def _vwap_day_gap(day: Day, _tick: float) -> float:
    return float(np.log(day["close"][-1] / ratio(day["dollar"].sum(), day["volume"].sum())))


def _vwap_gap(day: Day, _tick: float) -> float:
    return float(np.log(day["close"][-1] / ratio(day["dollar"][-20:].sum(), day["volume"][-20:].sum())))


def _rsi(day: Day, _tick: float) -> float:
    changes = np.diff(day["close"])
    gain, loss = wilder(np.maximum(changes, 0.0), 14), wilder(np.maximum(-changes, 0.0), 14)
    return share(gain - loss, gain + loss)


def _averages(values: Floats, span: int) -> Floats:
    out = np.array(values, dtype=float)
    for i in range(1, len(out)):
        out[i] = out[i - 1] + 2.0 / (span + 1.0) * (values[i] - out[i - 1])
    return out


def _macd_lines(day: Day) -> tuple[Floats, Floats]:
    lines = _averages(day["close"], 12) - _averages(day["close"], 26)
    return lines, _averages(lines, 9)


def _macd(day: Day, _tick: float) -> float:
    return float(_macd_lines(day)[0][-1] / day["close"][-1])


def _macd_histogram(day: Day, _tick: float) -> float:
    lines, signal = _macd_lines(day)
    return float((lines[-1] - signal[-1]) / day["close"][-1])


def _bollinger(day: Day) -> tuple[float, float]:
    recent = day["close"][-20:]
    mean, deviation = float(recent.mean()), float(recent.std())
    if not deviation > 1e-9 * abs(mean):
        return 0.0, 0.0
    return (float(recent[-1]) - mean) / (2.0 * deviation), 4.0 * deviation / mean


def _bollinger_position(day: Day, _tick: float) -> float:
    return _bollinger(day)[0]


def _bollinger_width(day: Day, _tick: float) -> float:
    return _bollinger(day)[1]


def _resistance_gap(day: Day, _tick: float) -> float:
    return math.log(day["high"][-60:].max() / day["close"][-1])


def _support_gap(day: Day, _tick: float) -> float:
    return math.log(day["close"][-1] / day["low"][-60:].min())


def _body_share(day: Day, _tick: float) -> float:
    bar = day[-1]
    return share(float(bar["close"] - bar["open"]), float(bar["high"] - bar["low"]))


def _upper_wick(day: Day, _tick: float) -> float:
    bar = day[-1]
    return ratio(float(bar["high"] - max(bar["open"], bar["close"])), float(bar["high"] - bar["low"]))


def _lower_wick(day: Day, _tick: float) -> float:
    bar = day[-1]
    return ratio(float(min(bar["open"], bar["close"]) - bar["low"]), float(bar["high"] - bar["low"]))


def _engulfing(day: Day, _tick: float) -> float:
    before, bar = day[-2], day[-1]
    if not abs(bar["close"] - bar["open"]) > abs(before["close"] - before["open"]):
        return 0.0
    rising = before["close"] < before["open"] and bar["open"] <= before["close"] and bar["close"] >= before["open"]
    falling = before["close"] > before["open"] and bar["open"] >= before["close"] and bar["close"] <= before["open"]
    return 1.0 if rising else -1.0 if falling else 0.0


def _inside_bar(day: Day, _tick: float) -> float:
    return float(day["high"][-1] <= day["high"][-2] and day["low"][-1] >= day["low"][-2])


def _run_length(day: Day, _tick: float) -> float:
    signs = np.sign(day["close"] - previous_close(day))
    run = 0
    while run < min(10, len(signs)) and signs[-1 - run] == signs[-1] != 0.0:
        run += 1
    return float(signs[-1]) * run / 10.0


def _profile(day: Day) -> tuple[float, float, float]:
    recent = day[-60:]
    low, span = float(recent["low"].min()), float(recent["high"].max() - recent["low"].min())
    if not (span > 0.0 and recent["volume"].sum() > 0.0):
        return 0.0, 0.0, 0.0
    bins = np.zeros(24)
    for vwap, volume in zip(recent["vwap"], recent["volume"], strict=True):
        bins[int(min(23.0, max(0.0, (vwap - low) / span * 24)))] += volume
    first = last = peak = int(np.argmax(bins))
    while bins[first : last + 1].sum() < 0.7 * bins.sum():
        below = bins[first - 1] if first > 0 else -1.0
        above = bins[last + 1] if last < 23 else -1.0
        first, last = (first - 1, last) if below >= above else (first, last + 1)
    close, width = (float(recent["close"][-1]) - low) / span * 24, last + 1 - first
    position = (close - (first + width / 2)) / (width / 2)
    return share(close - (peak + 0.5), 24.0), min(3.0, max(-3.0, position)), width / 24


def _profile_part(part: int) -> Definition:
    return lambda day, _tick: _profile(day)[part]


#: Definition of each, by name.
DEFINITIONS: Final[dict[str, Definition]] = {
    "vwap_day_gap": _vwap_day_gap,
    "vwap_gap_20": _vwap_gap,
    "rsi_14": _rsi,
    "macd": _macd,
    "macd_histogram": _macd_histogram,
    "bollinger_position_20": _bollinger_position,
    "bollinger_width_20": _bollinger_width,
    "resistance_gap_60": _resistance_gap,
    "support_gap_60": _support_gap,
    "body_share": _body_share,
    "upper_wick": _upper_wick,
    "lower_wick": _lower_wick,
    "engulfing": _engulfing,
    "inside_bar": _inside_bar,
    "run_length": _run_length,
    "poc_gap_60": _profile_part(0),
    "value_area_position_60": _profile_part(1),
    "value_area_width_60": _profile_part(2),
}
