"""The 30 features of ``core`` and their normalisation the way pandas, polars and bottleneck users compute them.

All three work column by column over a day without gaps; rows before the warm-up differ, later ones agree. The
plain columns, which need no window, come from numpy in all three, so that what is compared is the rolling work.
Polars is called series by series: the same as one lazy frame of expressions gave the same values in more time on one
thread (1.2 to 1.3 times), as it computes the plain columns too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from tapelab.quant.features import FEATURE_SETS, Normalisation

Floats = npt.NDArray[np.float64]
Contestant = Callable[[], npt.NDArray[np.float32]]

CORE: Final = FEATURE_SETS["core"]


class Rolling(Protocol):
    """What the features need of a library; every result has shape (n,), the current value included."""

    def mean(self, values: Floats, window: int) -> Floats:
        """Mean of the last values."""
        ...

    def deviation(self, values: Floats, window: int) -> Floats:
        """Population standard deviation of the last values."""
        ...

    def decayed(self, values: Floats, half_life: int) -> Floats:
        """Exponentially weighted mean."""
        ...


class _Pandas:
    def __init__(self) -> None:
        import pandas as pd

        self._series = pd.Series

    def mean(self, values: Floats, window: int) -> Floats:
        return np.asarray(self._series(values).rolling(window).mean())

    def deviation(self, values: Floats, window: int) -> Floats:
        return np.asarray(self._series(values).rolling(window).std(ddof=0))

    def decayed(self, values: Floats, half_life: int) -> Floats:
        return np.asarray(self._series(values).ewm(halflife=half_life).mean())


class _Polars:
    def __init__(self) -> None:
        import polars as pl

        self._series = pl.Series

    def mean(self, values: Floats, window: int) -> Floats:
        found: Floats = self._series(values).rolling_mean(window).to_numpy()
        return found

    def deviation(self, values: Floats, window: int) -> Floats:
        found: Floats = self._series(values).rolling_std(window, ddof=0).to_numpy()
        return found

    def decayed(self, values: Floats, half_life: int) -> Floats:
        found: Floats = self._series(values).ewm_mean(half_life=half_life).to_numpy()
        return found


class _Bottleneck:
    """It has no exponential mean; pandas lends its own."""

    def __init__(self) -> None:
        import bottleneck

        self._move_mean, self._move_std = bottleneck.move_mean, bottleneck.move_std
        self.decayed = _Pandas().decayed

    def mean(self, values: Floats, window: int) -> Floats:
        found: Floats = self._move_mean(values, window)
        return found

    def deviation(self, values: Floats, window: int) -> Floats:
        found: Floats = self._move_std(values, window)
        return found


def pandas_features(bars: Any, tick_size: float) -> Contestant:
    """A pandas computation."""
    return _contestant(_Pandas(), bars, tick_size)


def polars_features(bars: Any, tick_size: float) -> Contestant:
    """A polars computation."""
    return _contestant(_Polars(), bars, tick_size)


def bottleneck_features(bars: Any, tick_size: float) -> Contestant:
    """A bottleneck computation."""
    return _contestant(_Bottleneck(), bars, tick_size)


def _contestant(rolling: Rolling, bars: Any, tick_size: float) -> Contestant:
    # Columns of their own, as a user of these libraries would hold them.
    columns = {name: np.ascontiguousarray(bars[name]) for name in bars.dtype.names}
    window, clip = CORE.normaliser.window, CORE.normaliser.clip

    def compute() -> npt.NDArray[np.float32]:
        out = np.empty((len(bars), len(CORE.specs)), np.float32)
        with np.errstate(all="ignore"):
            raw = _raw(rolling, columns, tick_size)
            for j, spec in enumerate(CORE.specs):
                values = raw[spec.name]
                if spec.normalisation is Normalisation.ZSCORE:
                    values = np.nan_to_num(values)
                    centred = values[1:] - rolling.mean(values, window)[:-1]
                    out[1:, j] = np.clip(centred / rolling.deviation(values, window)[:-1], -clip, clip)
                elif spec.normalisation is Normalisation.SCALE:
                    values = np.nan_to_num(values)
                    spread = np.sqrt(rolling.mean(values * values, window)[:-1])
                    out[1:, j] = np.clip(values[1:] / spread, -clip, clip)
                else:
                    out[:, j] = values
        return out

    return compute


def _raw(rolling: Rolling, c: dict[str, npt.NDArray[Any]], tick: float) -> dict[str, Floats]:
    previous = np.concatenate([c["open"][:1], c["close"][:-1]])
    returns, changes = np.log(c["close"] / previous), (c["close"] - previous) / tick
    log_close, signed, volume = np.log(c["close"]), c["buy_volume"] - c["sell_volume"], c["volume"]
    momentum = np.zeros(len(log_close))
    momentum[10:] = log_close[10:] - log_close[:-10]
    since_open = (c["ts_close_ns"] - c["session_open_ns"]).astype(np.float64)
    angle = 2.0 * np.pi * since_open / 86_400e9
    volatility = np.sqrt(c["realised_var"])
    flow_mean = rolling.mean(signed, 50)
    kyle = rolling.mean(signed * returns, 50) - flow_mean * rolling.mean(returns, 50)
    later, before = changes[1:], changes[:-1]
    covariance = np.zeros(len(changes))
    covariance[1:] = rolling.mean(later * before, 50) - rolling.mean(later, 50) * rolling.mean(before, 50)
    floor = (tick / c["close"]) ** 2
    span = np.log(c["high"] / c["low"])
    return {
        "log_return": returns,
        **{name: c[name] for name in ("ret_1s", "ret_5s", "ret_30s", "ret_5m")},
        "momentum_10": momentum,
        "vwap_gap": np.log(c["close"] / c["vwap"]),
        "volume_imbalance": signed / volume,
        "flow_5s": c["signed_volume_5s"] / c["volume_5s"],
        "flow_30s": c["signed_volume_30s"] / c["volume_30s"],
        "count_imbalance": (c["buy_n"] - c["sell_n"]) / c["n"],
        "tick_imbalance": (c["up_ticks"] - c["down_ticks"]) / (c["up_ticks"] + c["down_ticks"]),
        "flow_ewma_5": rolling.decayed(signed, 5) / rolling.decayed(volume, 5),
        "flow_ewma_20": rolling.decayed(signed, 20) / rolling.decayed(volume, 20),
        "vpin_50": rolling.mean(np.abs(signed), 50) / rolling.mean(volume, 50),
        "kyle_lambda_50": kyle / (rolling.mean(signed * signed, 50) - flow_mean * flow_mean),
        "agent_concentration_gap": c["buy_agent_hhi"] - c["sell_agent_hhi"],
        "inter_arrival": np.log1p(1e3 * c["dt_mean_s"]),
        "inter_arrival_cv": np.sqrt(c["dt_var_s2"]) / c["dt_mean_s"],
        "arrival_ratio": np.log(60.0 * (c["n_5s"] + 1.0) / (c["n_5m"] + 60.0)),
        "time_of_day_sin": np.sin(angle),
        "time_of_day_cos": np.cos(angle),
        "session_progress": since_open / (c["session_close_ns"] - c["session_open_ns"]),
        "range_ticks": (c["high"] - c["low"]) / tick,
        "realised_vol_20": np.sqrt(rolling.mean(c["realised_var"], 20)),
        "parkinson_20": np.sqrt(rolling.mean(span * span, 20) / (4.0 * np.log(2.0))),
        "vol_of_vol_50": rolling.deviation(volatility, 50) / rolling.mean(volatility, 50),
        "rv_ratio": np.log(10.0 * (c["rv_30s"] + floor) / (c["rv_5m"] + 10.0 * floor)),
        "amihud_50": rolling.mean(np.abs(returns) * 1e6 / c["dollar"], 50),
        "roll_spread_50": 2.0 * np.sqrt(np.maximum(0.0, -covariance)),
    }
