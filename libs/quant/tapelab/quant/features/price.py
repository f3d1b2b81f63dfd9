"""Price and return features."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import Slots, finite
from tapelab.quant.features.spec import NEVER, FeatureSpec, Normalisation

MOMENTUM: Final = 10
SLOTS: Final = MOMENTUM

_RETURN: Final = "log return"
_CONT: Final = "Cont (2001), Empirical properties of asset returns, Quantitative Finance 1"


def _trailing(suffix: str) -> FeatureSpec:
    return FeatureSpec(
        name=f"ret_{suffix}",
        family="price",
        inputs=(f"ret_{suffix}",),
        window=1,
        warmup=1,
        unit=_RETURN,
        nan_policy=NEVER,
        normalisation=Normalisation.SCALE,
        summary=f"log return over the last {suffix} up to the close",
        source=_CONT,
    )


SPECS: Final = (
    FeatureSpec(
        name="log_return",
        family="price",
        inputs=("open", "close"),
        window=2,
        warmup=1,
        unit=_RETURN,
        nan_policy="from the bar's own open on the first bar of a day or after a gap",
        normalisation=Normalisation.SCALE,
        summary="ln(close / previous close)",
        source=_CONT,
    ),
    *(_trailing(suffix) for suffix in ("1s", "5s", "30s", "5m")),
    FeatureSpec(
        name=f"momentum_{MOMENTUM}",
        family="price",
        inputs=("close",),
        window=MOMENTUM + 1,
        warmup=MOMENTUM + 1,
        unit=_RETURN,
        nan_policy=NEVER,
        normalisation=Normalisation.SCALE,
        summary=f"ln(close / close {MOMENTUM} bars ago)",
        source="Jegadeesh & Titman (1993), Returns to buying winners and selling losers, Journal of Finance 48",
    ),
    FeatureSpec(
        name="vwap_gap",
        family="price",
        inputs=("close", "vwap"),
        window=1,
        warmup=1,
        unit=_RETURN,
        nan_policy="0 where there is no vwap",
        normalisation=Normalisation.SCALE,
        summary="ln(close / the bar's vwap)",
        source="Berkowitz, Logue & Noser (1988), The total cost of transactions on the NYSE, Journal of Finance 43",
    ),
)


@leaf
def price_row(bar: Any, t: int, log_return: float, slots: Slots, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``t`` counts the day's bars from 0."""
    log_close = finite(np.log(bar.close))
    at = t % MOMENTUM
    raw[0] = log_return
    raw[1] = finite(bar.ret_1s)
    raw[2] = finite(bar.ret_5s)
    raw[3] = finite(bar.ret_30s)
    raw[4] = finite(bar.ret_5m)
    raw[5] = log_close - slots[at] if t >= MOMENTUM else 0.0
    raw[6] = finite(np.log(bar.close / bar.vwap))
    slots[at] = log_close
