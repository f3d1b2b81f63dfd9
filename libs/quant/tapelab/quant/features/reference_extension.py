"""The features of ``extension.py`` again, slow and readable: each from its definition over the day so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Day = npt.NDArray[np.void]
#: A feature over the bars of one day up to and including the current one.
Definition = Callable[[Day, float], float]


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0.0 else 0.0


def _share(part: float, whole: float) -> float:
    return min(1.0, max(-1.0, _ratio(part, whole)))


def _previous(day: Day) -> Floats:
    return np.concatenate([day["open"][:1], day["close"][:-1]])


def _returns(day: Day) -> Floats:
    returns: Floats = np.log(day["close"] / _previous(day))
    return returns


def _signed(day: Day) -> Floats:
    signed: Floats = day["buy_volume"] - day["sell_volume"]
    return signed


def _momentum(length: int) -> Definition:
    return lambda day, _tick: math.log(day["close"][-1] / day["close"][-1 - length])


def _fracdiff(day: Day, _tick: float) -> float:
    order, weights = 0.4, [1.0]
    for k in range(1, 40):
        weights.append(weights[-1] * (k - 1 - order) / k)
    return float(np.array(weights) @ np.log(day["close"][-40:])[::-1])


def _signed_volume(day: Day, _tick: float) -> float:
    return float(_signed(day)[-1])


def _ofi(day: Day, _tick: float) -> float:
    change = day["close"] - _previous(day)
    events = np.where(change >= 0.0, day["buy_volume"], 0.0) - np.where(change <= 0.0, day["sell_volume"], 0.0)
    return float(events[-20:].sum())


def _aggressor_ratio(day: Day, _tick: float) -> float:
    buys, sells = day["buy_n"][-20:].sum(), day["sell_n"][-20:].sum()
    return _share(float(buys - sells), float(buys + sells))


def _tick_ratio(day: Day, _tick: float) -> float:
    up, down = day["up_ticks"][-20:].sum(), day["down_ticks"][-20:].sum()
    return _share(float(up - down), float(up + down))


def _flow_ewma(half_life: int) -> Definition:
    def definition(day: Day, _tick: float) -> float:
        weights = 0.5 ** (np.arange(len(day))[::-1] / half_life)
        return _share(float(weights @ _signed(day)), float(weights @ day["volume"]))

    return definition


def _trade_ewma(half_life: int) -> Definition:
    def definition(day: Day, _tick: float) -> float:
        weights = 0.5 ** (np.arange(len(day))[::-1] / half_life)
        return _share(float(weights @ (day["buy_n"] - day["sell_n"])), float(weights @ day["n"]))

    return definition


def _hasbrouck(day: Day, _tick: float) -> float:
    signed = _signed(day)
    flow = (np.sign(signed) * np.sqrt(np.abs(signed) * day["vwap"]))[-50:]
    returns = _returns(day)[-50:]
    deviations = flow - flow.mean()
    return _ratio(float(deviations @ (returns - returns.mean())), float(deviations @ deviations))


def _field(name: str) -> Definition:
    return lambda day, _tick: float(day[name][-1])


def _durations_s(day: Day) -> Floats:
    durations: Floats = np.maximum(0.0, (day["ts_close_ns"] - day["ts_open_ns"]) / 1e9)
    return durations


def _bar_duration(day: Day, _tick: float) -> float:
    return math.log(1.0 + 1e3 * float(_durations_s(day)[-1]))


def _duration_cv(day: Day, _tick: float) -> float:
    recent = _durations_s(day)[-50:]
    return _ratio(float(recent.std()), float(recent.mean()))


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


def _wilder(values: Floats, window: int) -> float:
    average = float(values[:window].mean())
    for value in values[window:]:
        average = (average * (window - 1) + float(value)) / window
    return average


def _atr(day: Day, tick: float) -> float:
    previous = day["close"][:-1]
    ranges = np.maximum(day["high"][1:], previous) - np.minimum(day["low"][1:], previous)
    return _wilder(ranges / tick, 14)


def _garman_klass(day: Day, _tick: float) -> float:
    recent = day[-20:]
    variance = 0.5 * np.log(recent["high"] / recent["low"]) ** 2
    variance -= (2.0 * math.log(2.0) - 1.0) * np.log(recent["close"] / recent["open"]) ** 2
    return math.sqrt(max(0.0, float(variance.mean())))


def _rogers_satchell(day: Day, _tick: float) -> float:
    up, down, close = (np.log(day[name][-20:] / day["open"][-20:]) for name in ("high", "low", "close"))
    return math.sqrt(max(0.0, float((up * (up - close) + down * (down - close)).mean())))


def _return_vol(day: Day, _tick: float) -> float:
    return math.sqrt(float((_returns(day)[-20:] ** 2).mean()))


def _bipower(day: Day) -> float:
    sizes = np.abs(_returns(day))
    return float(0.5 * math.pi * (sizes[1:] * sizes[:-1])[-20:].mean())


def _bipower_vol(day: Day, _tick: float) -> float:
    return math.sqrt(_bipower(day))


def _jump_share(day: Day, tick: float) -> float:
    squares = float((_returns(day)[-20:] ** 2).mean())
    return max(0.0, 1.0 - _bipower(day) / squares) if squares > 0.0 else 0.0


def _realised_vol(day: Day, _tick: float) -> float:
    return math.sqrt(float(day["realised_var"][-60:].mean()))


def corwin_schultz(high: Floats, low: Floats) -> Floats:
    """Spread of each pair of successive bars, shape (n - 1,), as the paper's equations 14 and 18 write it."""
    squares = np.log(high / low) ** 2
    beta = squares[1:] + squares[:-1]
    gamma = np.log(np.maximum(high[1:], high[:-1]) / np.minimum(low[1:], low[:-1])) ** 2
    scale = 3.0 - 2.0 * math.sqrt(2.0)
    alpha = (np.sqrt(2.0 * beta) - np.sqrt(beta)) / scale - np.sqrt(gamma / scale)
    spread: Floats = 2.0 * (np.exp(alpha) - 1.0) / (1.0 + np.exp(alpha))
    return np.maximum(0.0, spread)


def _corwin_schultz(day: Day, _tick: float) -> float:
    return float(corwin_schultz(day["high"], day["low"])[-20:].mean())


def _abdi_ranaldo(day: Day, tick: float) -> float:
    mids, closes = 0.5 * (day["high"] + day["low"]) / tick, day["close"] / tick
    mean = float(((closes[:-1] - mids[:-1]) * (closes[:-1] - mids[1:]))[-20:].mean())
    return 2.0 * math.sqrt(mean) if mean > 1e-9 else 0.0


def _vwap_day_gap(day: Day, _tick: float) -> float:
    return float(np.log(day["close"][-1] / _ratio(day["dollar"].sum(), day["volume"].sum())))


def _vwap_gap(day: Day, _tick: float) -> float:
    return float(np.log(day["close"][-1] / _ratio(day["dollar"][-20:].sum(), day["volume"][-20:].sum())))


def _rsi(day: Day, _tick: float) -> float:
    changes = np.diff(day["close"])
    gain, loss = _wilder(np.maximum(changes, 0.0), 14), _wilder(np.maximum(-changes, 0.0), 14)
    return _share(gain - loss, gain + loss)


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
    return _share(float(bar["close"] - bar["open"]), float(bar["high"] - bar["low"]))


def _upper_wick(day: Day, _tick: float) -> float:
    bar = day[-1]
    return _ratio(float(bar["high"] - max(bar["open"], bar["close"])), float(bar["high"] - bar["low"]))


def _lower_wick(day: Day, _tick: float) -> float:
    bar = day[-1]
    return _ratio(float(min(bar["open"], bar["close"]) - bar["low"]), float(bar["high"] - bar["low"]))


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
    signs = np.sign(day["close"] - _previous(day))
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
    return _share(close - (peak + 0.5), 24.0), min(3.0, max(-3.0, position)), width / 24


def _profile_part(part: int) -> Definition:
    return lambda day, _tick: _profile(day)[part]


#: Definition of every feature of the extension, by name.
DEFINITIONS: Final[dict[str, Definition]] = {
    **{f"momentum_{length}": _momentum(length) for length in (5, 30, 60)},
    "fracdiff_40": _fracdiff,
    "signed_volume": _signed_volume,
    "ofi_20": _ofi,
    "aggressor_ratio_20": _aggressor_ratio,
    "tick_ratio_20": _tick_ratio,
    **{f"flow_ewma_{half_life}": _flow_ewma(half_life) for half_life in (2, 30)},
    **{f"trade_ewma_{half_life}": _trade_ewma(half_life) for half_life in (2, 10, 30)},
    "hasbrouck_lambda_50": _hasbrouck,
    "buy_agent_concentration": _field("buy_agent_hhi"),
    "sell_agent_concentration": _field("sell_agent_hhi"),
    "bar_duration": _bar_duration,
    "duration_cv_50": _duration_cv,
    "hawkes_intensity": _hawkes_intensity,
    "hawkes_ratio": _hawkes_ratio,
    "weekday_sin": _weekday_sin,
    "weekday_cos": _weekday_cos,
    "hour_sin": _hour_sin,
    "hour_cos": _hour_cos,
    "atr_14": _atr,
    "garman_klass_20": _garman_klass,
    "rogers_satchell_20": _rogers_satchell,
    "return_vol_20": _return_vol,
    "bipower_vol_20": _bipower_vol,
    "jump_share_20": _jump_share,
    "realised_vol_60": _realised_vol,
    "corwin_schultz_20": _corwin_schultz,
    "abdi_ranaldo_20": _abdi_ranaldo,
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
