"""The features again, slow and readable: every window is cut out of the day and computed from scratch.

Nothing of the kernel is used, only the definitions; tests hold the two together within rounding.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from tapelab.quant.dtypes import BarFlag
from tapelab.quant.features import (
    reference_flow,
    reference_participants,
    reference_technical,
    reference_timing,
    reference_volatility,
)
from tapelab.quant.features.bank import FeatureRows
from tapelab.quant.features.reference_parts import (
    Day,
    Definition,
    Floats,
    field,
    log_returns,
    previous_close,
    ratio,
    share,
    signed_volume,
)
from tapelab.quant.features.spec import FeatureSet, FeatureSpec, Normalisation, Normaliser, NormaliserKind


def reference_features(bars: npt.NDArray[np.void], feature_set: FeatureSet, tick_size: float) -> FeatureRows:
    """What :func:`~tapelab.quant.features.engine.compute_features` returns, in quadratic time."""
    n, width = len(bars), len(feature_set.specs)
    values = np.zeros((n, width))
    warm = np.zeros(n, dtype=np.bool_)
    after_gap = np.zeros(n, dtype=np.bool_)
    for start, stop in _segments(bars):
        day = bars[start:stop]
        for j, spec in enumerate(feature_set.specs):
            raw = np.array([_raw(spec, day[: i + 1], tick_size) for i in range(len(day))])
            values[start:stop, j] = _normalised(raw, spec, feature_set.modes[j], feature_set.normaliser)
        warm[start:stop] = np.arange(1, len(day) + 1) >= feature_set.warmup
        if day["flags"][0] & BarFlag.AFTER_GAP:
            after_gap[start:stop] = ~warm[start:stop]
    return FeatureRows(values.astype(np.float32), warm, after_gap)


def _segments(bars: npt.NDArray[np.void]) -> list[tuple[int, int]]:
    """Runs of bars over which state is carried: a new one begins with a day and after a gap."""
    starts = [
        i
        for i in range(len(bars))
        if i == 0 or bars["day"][i] != bars["day"][i - 1] or bars["flags"][i] & BarFlag.AFTER_GAP
    ]
    return list(zip(starts, [*starts[1:], len(bars)], strict=True))


def _raw(spec: FeatureSpec, day: npt.NDArray[np.void], tick_size: float) -> float:
    if len(day) < spec.warmup:
        return 0.0
    with np.errstate(all="ignore"):
        value = DEFINITIONS[spec.name](day, tick_size)
    return value if math.isfinite(value) else 0.0


def _normalised(raw: Floats, spec: FeatureSpec, mode: Normalisation, normaliser: Normaliser) -> Floats:
    if mode is Normalisation.NONE:
        largest = float(np.finfo(np.float32).max)
        return np.clip(raw, -largest, largest)
    out = np.zeros(len(raw))
    first = min(spec.warmup - 1, len(raw))
    level = mode is Normalisation.ZSCORE
    out[first:] = normalised_series(raw[first:], level, normaliser)
    return out


def normalised_series(values: Floats, level: bool, normaliser: Normaliser) -> Floats:
    """Each value against those before it, every statistic computed from scratch by numpy, shape (n,).

    ``level`` says whether values are centred (``ZSCORE``) or keep their zero (``SCALE``).
    """
    out, kept = np.zeros(len(values)), np.array(values, dtype=float)
    for i, value in enumerate(values):
        past = values[max(0, i - normaliser.window) : i]
        if len(past) < normaliser.minimum:
            continue
        keys = past if level else np.abs(past)
        if normaliser.kind is NormaliserKind.RANK:
            key = value if level else abs(value)
            share = float((keys < key).mean() + (keys <= key).mean()) / 2.0
            out[i] = 2.0 * share - 1.0 if level else float(np.sign(value)) * share
            continue
        if normaliser.kind is NormaliserKind.ROBUST:
            centre = float(np.median(past)) if level else 0.0
            width = float(np.subtract(*np.quantile(past, [0.75, 0.25]))) / 1.3489795003921634
            spread = width if level else float(np.median(keys)) / 0.6744897501960817
        else:
            weights = np.ones(len(past))
            if normaliser.kind is NormaliserKind.WINSOR:
                high = float(np.quantile(keys, 1.0 - normaliser.tail))
                low = float(np.quantile(keys, normaliser.tail)) if level else -high
                value = kept[i] = min(high, max(low, value))
                past = kept[max(0, i - normaliser.window) : i]
            elif normaliser.kind is NormaliserKind.EWMA:
                past = values[:i]
                weights = 0.5 ** (np.arange(i)[::-1] / normaliser.window)
            mean = float(np.average(past, weights=weights))
            centre = mean if level else 0.0
            spread = math.sqrt(float(np.average((past - centre) ** 2, weights=weights)))
        if spread > 1e-9 * abs(centre):
            out[i] = min(normaliser.clip, max(-normaliser.clip, (value - centre) / spread))
    return out


def _field_share(part: str, whole: str) -> Definition:
    return lambda day, _tick: share(float(day[part][-1]), float(day[whole][-1]))


def _log_return(day: Day, _tick: float) -> float:
    return float(log_returns(day)[-1])


def _momentum(day: Day, _tick: float) -> float:
    return math.log(day["close"][-1] / day["close"][-11])


def _vwap_gap(day: Day, _tick: float) -> float:
    return float(np.log(day["close"][-1] / day["vwap"][-1]))


def _volume_imbalance(day: Day, _tick: float) -> float:
    return share(float(signed_volume(day)[-1]), float(day["volume"][-1]))


def _count_imbalance(day: Day, _tick: float) -> float:
    return share(float(day["buy_n"][-1] - day["sell_n"][-1]), float(day["n"][-1]))


def _tick_imbalance(day: Day, _tick: float) -> float:
    up, down = float(day["up_ticks"][-1]), float(day["down_ticks"][-1])
    return share(up - down, up + down)


def _flow_ewma(half_life: int) -> Definition:
    def definition(day: Day, _tick: float) -> float:
        weights = 0.5 ** (np.arange(len(day))[::-1] / half_life)
        return share(float(weights @ signed_volume(day)), float(weights @ day["volume"]))

    return definition


def _vpin(day: Day, _tick: float) -> float:
    return share(float(np.abs(signed_volume(day))[-50:].sum()), float(day["volume"][-50:].sum()))


def _kyle_lambda(day: Day, _tick: float) -> float:
    flow, returns = signed_volume(day)[-50:], log_returns(day)[-50:]
    deviations = flow - flow.mean()
    return ratio(float(deviations @ (returns - returns.mean())), float(deviations @ deviations))


def _agent_concentration_gap(day: Day, _tick: float) -> float:
    return float(day["buy_agent_hhi"][-1] - day["sell_agent_hhi"][-1])


def _inter_arrival(day: Day, _tick: float) -> float:
    return math.log(1.0 + 1e3 * float(day["dt_mean_s"][-1]))


def _inter_arrival_cv(day: Day, _tick: float) -> float:
    return ratio(math.sqrt(day["dt_var_s2"][-1]), float(day["dt_mean_s"][-1]))


def _arrival_ratio(day: Day, _tick: float) -> float:
    return math.log(((day["n_5s"][-1] + 1.0) / 5.0) / ((day["n_5m"][-1] + 60.0) / 300.0))


def _since_open_s(day: npt.NDArray[np.void]) -> float:
    return float(day["ts_close_ns"][-1] - day["session_open_ns"][-1]) / 1e9


def _time_of_day_sin(day: Day, _tick: float) -> float:
    return math.sin(2.0 * math.pi * _since_open_s(day) / 86_400.0)


def _time_of_day_cos(day: Day, _tick: float) -> float:
    return math.cos(2.0 * math.pi * _since_open_s(day) / 86_400.0)


def _session_progress(day: Day, _tick: float) -> float:
    length_s = float(day["session_close_ns"][-1] - day["session_open_ns"][-1]) / 1e9
    return min(1.0, max(0.0, ratio(_since_open_s(day), length_s)))


def _range_ticks(day: Day, tick: float) -> float:
    return float(day["high"][-1] - day["low"][-1]) / tick


def _realised_vol(day: Day, _tick: float) -> float:
    return math.sqrt(day["realised_var"][-20:].mean())


def _parkinson(day: Day, _tick: float) -> float:
    ranges = np.log(day["high"][-20:] / day["low"][-20:])
    return math.sqrt((ranges**2).mean() / (4.0 * math.log(2.0)))


def _vol_of_vol(day: Day, _tick: float) -> float:
    volatility = np.sqrt(day["realised_var"][-50:])
    return ratio(float(volatility.std()), float(volatility.mean()))


def _rv_ratio(day: Day, tick: float) -> float:
    floor = (tick / day["close"][-1]) ** 2
    return math.log(((day["rv_30s"][-1] + floor) / 30.0) / ((day["rv_5m"][-1] + 10.0 * floor) / 300.0))


def _amihud(day: Day, _tick: float) -> float:
    pairs = zip(np.abs(log_returns(day))[-50:], day["dollar"][-50:], strict=True)
    return float(np.mean([1e6 * ratio(float(r), float(dollar)) for r, dollar in pairs]))


def _roll_spread(day: Day, tick: float) -> float:
    changes = (day["close"] - previous_close(day)) / tick
    now, before = changes[1:][-50:], changes[:-1][-50:]
    covariance = float(np.mean((now - now.mean()) * (before - before.mean())))
    return 2.0 * math.sqrt(-covariance) if covariance < -1e-9 else 0.0


#: Definition of every feature of the catalogue, by name.
DEFINITIONS: Final[dict[str, Definition]] = {
    "log_return": _log_return,
    "ret_1s": field("ret_1s"),
    "ret_5s": field("ret_5s"),
    "ret_30s": field("ret_30s"),
    "ret_5m": field("ret_5m"),
    "momentum_10": _momentum,
    "vwap_gap": _vwap_gap,
    "volume_imbalance": _volume_imbalance,
    "flow_5s": _field_share("signed_volume_5s", "volume_5s"),
    "flow_30s": _field_share("signed_volume_30s", "volume_30s"),
    "count_imbalance": _count_imbalance,
    "tick_imbalance": _tick_imbalance,
    "flow_ewma_5": _flow_ewma(5),
    "flow_ewma_20": _flow_ewma(20),
    "vpin_50": _vpin,
    "kyle_lambda_50": _kyle_lambda,
    "agent_concentration_gap": _agent_concentration_gap,
    "inter_arrival": _inter_arrival,
    "inter_arrival_cv": _inter_arrival_cv,
    "arrival_ratio": _arrival_ratio,
    "time_of_day_sin": _time_of_day_sin,
    "time_of_day_cos": _time_of_day_cos,
    "session_progress": _session_progress,
    "range_ticks": _range_ticks,
    "realised_vol_20": _realised_vol,
    "parkinson_20": _parkinson,
    "vol_of_vol_50": _vol_of_vol,
    "rv_ratio": _rv_ratio,
    "amihud_50": _amihud,
    "roll_spread_50": _roll_spread,
    **reference_flow.DEFINITIONS,
    **reference_timing.DEFINITIONS,
    **reference_volatility.DEFINITIONS,
    **reference_technical.DEFINITIONS,
    **reference_participants.DEFINITIONS,
}
