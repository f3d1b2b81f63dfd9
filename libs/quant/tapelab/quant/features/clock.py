"""The hour on the exchange's wall clock."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import Slots
from tapelab.quant.features.spec import ZERO_WHEN_UNKNOWN, FeatureSpec, Normalisation

_DAY_NS: Final = 86_400_000_000_000
_DAY_S: Final = 86_400.0
_SECOND_NS: Final = 1_000_000_000

SPECS: Final = tuple(
    FeatureSpec(
        name=f"hour_{name}",
        family="time",
        inputs=("ts_close_ns", "utc_offset_s"),
        window=1,
        warmup=1,
        unit="-1 to 1",
        nan_policy=ZERO_WHEN_UNKNOWN,
        normalisation=Normalisation.NONE,
        summary=f"{word} of the 24-hour angle of the close on the exchange's wall clock, midnight at 0",
        source="Harris (1986), A transaction data study of weekly and intradaily patterns in stock returns, JFE 16",
    )
    for name, word in (("sin", "sine"), ("cos", "cosine"))
)


@leaf
def clock_row(bar: Any, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; nothing is carried."""
    raw[0] = raw[1] = 0.0
    if abs(bar.utc_offset_s) <= _DAY_S:
        local_ns = (bar.ts_close_ns % _DAY_NS + int(bar.utc_offset_s) * _SECOND_NS) % _DAY_NS
        angle = 2.0 * np.pi * (local_ns / _DAY_NS)
        raw[0] = np.sin(angle)
        raw[1] = np.cos(angle)
