"""The features of price and flow beyond the set ``core`` again, slow and readable."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from tapelab.quant.features.reference_parts import (
    Day,
    Definition,
    field,
    log_returns,
    previous_close,
    ratio,
    share,
    signed_volume,
)


def _momentum(length: int) -> Definition:
    return lambda day, _tick: math.log(day["close"][-1] / day["close"][-1 - length])


def _fracdiff(day: Day, _tick: float) -> float:
    order, weights = 0.4, [1.0]
    for k in range(1, 40):
        weights.append(weights[-1] * (k - 1 - order) / k)
    return float(np.array(weights) @ np.log(day["close"][-40:])[::-1])


def _signed_volume(day: Day, _tick: float) -> float:
    return float(signed_volume(day)[-1])


def _ofi(day: Day, _tick: float) -> float:
    change = day["close"] - previous_close(day)
    events = np.where(change >= 0.0, day["buy_volume"], 0.0) - np.where(change <= 0.0, day["sell_volume"], 0.0)
    return float(events[-20:].sum())


def _aggressor_ratio(day: Day, _tick: float) -> float:
    buys, sells = day["buy_n"][-20:].sum(), day["sell_n"][-20:].sum()
    return share(float(buys - sells), float(buys + sells))


def _tick_ratio(day: Day, _tick: float) -> float:
    up, down = day["up_ticks"][-20:].sum(), day["down_ticks"][-20:].sum()
    return share(float(up - down), float(up + down))


def _flow_ewma(half_life: int) -> Definition:
    def definition(day: Day, _tick: float) -> float:
        weights = 0.5 ** (np.arange(len(day))[::-1] / half_life)
        return share(float(weights @ signed_volume(day)), float(weights @ day["volume"]))

    return definition


def _trade_ewma(half_life: int) -> Definition:
    def definition(day: Day, _tick: float) -> float:
        weights = 0.5 ** (np.arange(len(day))[::-1] / half_life)
        return share(float(weights @ (day["buy_n"] - day["sell_n"])), float(weights @ day["n"]))

    return definition


def _hasbrouck(day: Day, _tick: float) -> float:
    signed = signed_volume(day)
    flow = (np.sign(signed) * np.sqrt(np.abs(signed) * day["vwap"]))[-50:]
    returns = log_returns(day)[-50:]
    deviations = flow - flow.mean()
    return ratio(float(deviations @ (returns - returns.mean())), float(deviations @ deviations))


#: Definition of each, by name.
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
    "buy_agent_concentration": field("buy_agent_hhi"),
    "sell_agent_concentration": field("sell_agent_hhi"),
}
