"""The features of volatility and spreads beyond the set ``core`` again, slow and readable."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from tapelab.quant.features.reference_parts import Day, Definition, Floats, log_returns, wilder


def _atr(day: Day, tick: float) -> float:
    previous = day["close"][:-1]
    ranges = np.maximum(day["high"][1:], previous) - np.minimum(day["low"][1:], previous)
    return wilder(ranges / tick, 14)


def _garman_klass(day: Day, _tick: float) -> float:
    recent = day[-20:]
    variance = 0.5 * np.log(recent["high"] / recent["low"]) ** 2
    variance -= (2.0 * math.log(2.0) - 1.0) * np.log(recent["close"] / recent["open"]) ** 2
    return math.sqrt(max(0.0, float(variance.mean())))


def _rogers_satchell(day: Day, _tick: float) -> float:
    up, down, close = (np.log(day[name][-20:] / day["open"][-20:]) for name in ("high", "low", "close"))
    return math.sqrt(max(0.0, float((up * (up - close) + down * (down - close)).mean())))


def _return_vol(day: Day, _tick: float) -> float:
    return math.sqrt(float((log_returns(day)[-20:] ** 2).mean()))


def _bipower(day: Day) -> float:
    sizes = np.abs(log_returns(day))
    return float(0.5 * math.pi * (sizes[1:] * sizes[:-1])[-20:].mean())


def _bipower_vol(day: Day, _tick: float) -> float:
    return math.sqrt(_bipower(day))


def _jump_share(day: Day, tick: float) -> float:
    squares = float((log_returns(day)[-20:] ** 2).mean())
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


#: Definition of each, by name.
DEFINITIONS: Final[dict[str, Definition]] = {
    "atr_14": _atr,
    "garman_klass_20": _garman_klass,
    "rogers_satchell_20": _rogers_satchell,
    "return_vol_20": _return_vol,
    "bipower_vol_20": _bipower_vol,
    "jump_share_20": _jump_share,
    "realised_vol_60": _realised_vol,
    "corwin_schultz_20": _corwin_schultz,
    "abdi_ranaldo_20": _abdi_ranaldo,
}
