"""Trend features: momentum over several lengths and the fractionally differentiated price."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import Slots, finite
from tapelab.quant.features.spec import NEVER, FeatureSpec, Normalisation

LENGTHS: Final = (5, 30, 60)  # bars
ORDER: Final = 0.4  # of differentiation
WIDTH: Final = 40  # weights kept, in bars
RING: Final = max(*LENGTHS, WIDTH)
SLOTS: Final = RING


def fractional_weights(order: float, width: int) -> tuple[float, ...]:
    """The first ``width`` coefficients of ``(1 - B)^order``, newest bar first."""
    weights = [1.0]
    for k in range(1, width):
        weights.append(-weights[-1] * (order - k + 1) / k)
    return tuple(weights)


_WEIGHTS: Final = np.array(fractional_weights(ORDER, WIDTH))

SPECS: Final = (
    *(
        FeatureSpec(
            name=f"momentum_{length}",
            family="price",
            inputs=("close",),
            window=length + 1,
            warmup=length + 1,
            unit="log return",
            nan_policy=NEVER,
            normalisation=Normalisation.SCALE,
            summary=f"ln(close / close {length} bars ago)",
            source="Jegadeesh & Titman (1993), Returns to buying winners and selling losers, Journal of Finance 48",
        )
        for length in LENGTHS
    ),
    FeatureSpec(
        name=f"fracdiff_{WIDTH}",
        family="price",
        inputs=("close",),
        window=WIDTH,
        warmup=WIDTH,
        unit="log price",
        nan_policy=NEVER,
        normalisation=Normalisation.ZSCORE,
        summary=f"ln(close) differentiated {ORDER} times, fixed width of {WIDTH} bars",
        source="Hosking (1981), Fractional differencing, Biometrika 68; Lopez de Prado (2018), Advances in Financial "
        "Machine Learning, ch. 5",
    ),
)


@leaf
def trend_row(bar: Any, t: int, slots: Slots, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``slots`` is a ring of log closes."""
    log_close = finite(np.log(bar.close))
    for k in range(len(LENGTHS)):
        raw[k] = log_close - slots[(t - LENGTHS[k]) % RING] if t >= LENGTHS[k] else 0.0
    slots[t % RING] = log_close
    total = 0.0
    if t + 1 >= WIDTH:
        for k in range(WIDTH):
            total += _WEIGHTS[k] * slots[(t - k) % RING]
    raw[len(LENGTHS)] = total
