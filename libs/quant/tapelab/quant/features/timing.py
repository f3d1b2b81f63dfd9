"""Time features: how fast prints come, and where in the session the bar closes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import Slots, finite, ratio
from tapelab.quant.features.spec import NEVER, ZERO_WHEN_EMPTY, FeatureSpec, Normalisation

DAY_NS: Final = 86_400_000_000_000

_DURATION: Final = "Engle & Russell (1998), Autoregressive conditional duration, Econometrica 66"
_INTRADAY: Final = "Andersen & Bollerslev (1997), Intraday periodicity and volatility persistence, J. Empir. Finance 4"


def _clock(name: str, inputs: tuple[str, ...], unit: str, summary: str) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family="time",
        inputs=inputs,
        window=1,
        warmup=1,
        unit=unit,
        nan_policy=NEVER,
        normalisation=Normalisation.NONE,
        summary=summary,
        source=_INTRADAY,
    )


SPECS: Final = (
    FeatureSpec(
        name="inter_arrival",
        family="time",
        inputs=("dt_mean_s",),
        window=1,
        warmup=1,
        unit="ln(1 + ms)",
        nan_policy="0 where the bar has fewer than two prints",
        normalisation=Normalisation.ZSCORE,
        summary="ln(1 + mean time between prints in ms)",
        source=_DURATION,
    ),
    FeatureSpec(
        name="inter_arrival_cv",
        family="time",
        inputs=("dt_mean_s", "dt_var_s2"),
        window=1,
        warmup=1,
        unit="ratio",
        nan_policy=ZERO_WHEN_EMPTY,
        normalisation=Normalisation.ZSCORE,
        summary="standard deviation / mean of the time between prints; 1 for a Poisson stream, more when bursty",
        source=_DURATION,
    ),
    FeatureSpec(
        name="arrival_ratio",
        family="time",
        inputs=("n_5s", "n_5m"),
        window=1,
        warmup=1,
        unit="ln ratio",
        nan_policy=NEVER,
        normalisation=Normalisation.ZSCORE,
        summary="ln of the print rate over 5 s against 5 min, one print per 5 s added to both",
        source="Bacry, Mastromatteo & Muzy (2015), Hawkes processes in finance, Market Microstructure and Liquidity 1",
    ),
    _clock(
        "time_of_day_sin",
        ("ts_close_ns", "session_open_ns"),
        "-1 to 1",
        "sine of the 24-hour angle since the session's open",
    ),
    _clock(
        "time_of_day_cos",
        ("ts_close_ns", "session_open_ns"),
        "-1 to 1",
        "cosine of the 24-hour angle since the session's open",
    ),
    _clock(
        "session_progress",
        ("ts_close_ns", "session_open_ns", "session_close_ns"),
        "share, 0 to 1",
        "part of the session that has passed at the close",
    ),
)


@leaf
def time_row(bar: Any, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; nothing is carried."""
    mean_s = max(0.0, finite(bar.dt_mean_s))
    raw[0] = np.log1p(1e3 * mean_s)
    raw[1] = ratio(np.sqrt(max(0.0, finite(bar.dt_var_s2))), mean_s)
    recent = max(0.0, finite(bar.n_5s))
    usual = max(0.0, finite(bar.n_5m))
    raw[2] = np.log(60.0 * (recent + 1.0) / (usual + 60.0))
    since_open = float(bar.ts_close_ns - bar.session_open_ns)
    angle = 2.0 * np.pi * (since_open / DAY_NS)
    raw[3] = np.sin(angle)
    raw[4] = np.cos(angle)
    progress = ratio(since_open, float(bar.session_close_ns - bar.session_open_ns))
    raw[5] = min(1.0, max(0.0, progress))
