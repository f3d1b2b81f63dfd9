"""Features against earlier days: the intraday seasonal profile and yesterday's volatility."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.day_context import BINS, DAYS, HELD, PAST, SUMMARY, session_bin
from tapelab.quant.features.rolling import Slots, finite
from tapelab.quant.features.spec import FeatureSpec, Normalisation

#: Seconds of the trailing window that is compared, or those since the session's open, and the bound of each log ratio.
_WINDOW_S: Final = 300.0
_BOUND: Final = 5.0

_INTRADAY: Final = "Andersen & Bollerslev (1997), Intraday periodicity and volatility persistence, J. Empir. Finance 4"
_HAR: Final = "Corsi (2009), A simple approximate long-memory model of realized volatility, J. Financial Econometrics 7"
_SESSION: Final = ("ts_close_ns", "session_open_ns", "session_close_ns")
_WINDOW: Final = "5 min, since the open where that is shorter"
_PROFILE: Final = f"of the same {BINS}th of the session, mean of the last {DAYS} complete days or as many as there are"


def _against_days(name: str, inputs: tuple[str, ...], summary: str, source: str) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family="seasonal",
        inputs=(*inputs, *_SESSION),
        window=1,
        warmup=1,
        unit=f"ln ratio, within ±{_BOUND:g}",
        nan_policy="0 until the stream holds a complete day",
        normalisation=Normalisation.NONE,
        summary=summary,
        source=source,
        revision=2,
    )


SPECS: Final = (
    _against_days(
        "seasonal_activity",
        ("n_5m", "n"),
        f"ln of the prints of {_WINDOW}, 60 added, against those {_PROFILE}",
        _INTRADAY,
    ),
    _against_days(
        "seasonal_volatility",
        ("rv_5m", "realised_var", "close"),
        f"ln of the realised variance of {_WINDOW}, a one-tick move per 30 s added, against that {_PROFILE}",
        _INTRADAY,
    ),
    _against_days(
        "vol_vs_yesterday",
        ("rv_5m", "realised_var", "close"),
        f"ln of the realised variance of {_WINDOW}, a one-tick move per 30 s added, against the last complete day's "
        "mean",
        _HAR,
    ),
)


@leaf
def _log_ratio(now: float, usual: float) -> float:
    return min(_BOUND, max(-_BOUND, finite(np.log(now / usual))))


@leaf
def seasonal_row(bar: Any, tick_size: float, context: Slots, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``context`` is as ``day_context`` lays it out."""
    raw[:3] = 0.0
    held = int(context[HELD])
    length_s = 1e-9 * float(bar.session_close_ns - bar.session_open_ns)
    if held == 0 or not length_s > 0.0:
        return
    at = PAST + session_bin(bar)
    prints = 0.0
    variance = 0.0
    for k in range(held):
        prints += context[at + k * SUMMARY]
        variance += context[at + k * SUMMARY + BINS]
    # The trailing window begins with the session, so early in it less than a whole one is to be expected.
    window_s = min(_WINDOW_S, max(0.0, 1e-9 * float(bar.ts_close_ns - bar.session_open_ns)))
    part = window_s * BINS / (held * length_s)
    floor = 10.0 * (tick_size / bar.close) * (tick_size / bar.close)
    recent = max(0.0, finite(bar.rv_5m)) + floor
    raw[0] = _log_ratio(max(0.0, finite(bar.n_5m)) + 60.0, prints * part + 60.0)
    raw[1] = _log_ratio(recent, variance * part + floor)
    yesterday = 0.0
    newest = PAST + (held - 1) * SUMMARY + BINS
    for k in range(BINS):
        yesterday += context[newest + k]
    raw[2] = _log_ratio(recent, yesterday * (window_s / length_s) + floor)
