"""Price patterns: the anatomy of a bar, engulfing and inside bars, and runs of closes."""

from __future__ import annotations

from typing import Any, Final

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import Slots, share
from tapelab.quant.features.spec import NEVER, ZERO_WHEN_EMPTY, FeatureSpec, Normalisation

#: Slots: previous open, high, low and close, signed length of the run.
SLOTS: Final = 5
#: Runs count up to this many bars.
LONGEST_RUN: Final = 10

_NISON: Final = "Nison (1991), Japanese Candlestick Charting Techniques"
_OHLC: Final = ("open", "high", "low", "close")


def _pattern(
    name: str, inputs: tuple[str, ...], window: int, unit: str, summary: str, nan_policy: str = NEVER, revision: int = 1
) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family="technical",
        inputs=inputs,
        window=window,
        warmup=window,
        unit=unit,
        nan_policy=nan_policy,
        normalisation=Normalisation.NONE,
        summary=summary,
        source=_NISON,
        revision=revision,
    )


SPECS: Final = (
    _pattern("body_share", _OHLC, 1, "share, -1 to 1", "(close - open) / (high - low)", ZERO_WHEN_EMPTY),
    _pattern("upper_wick", _OHLC, 1, "share, 0 to 1", "(high - max(open, close)) / (high - low)", ZERO_WHEN_EMPTY),
    _pattern("lower_wick", _OHLC, 1, "share, 0 to 1", "(min(open, close) - low) / (high - low)", ZERO_WHEN_EMPTY),
    _pattern(
        "engulfing",
        _OHLC,
        2,
        "-1, 0 or 1",
        "1 where a rising body covers a shorter falling one before it, -1 where a falling body covers a rising one",
        revision=2,
    ),
    _pattern("inside_bar", _OHLC, 2, "0 or 1", "1 where high and low lie within those of the bar before"),
    _pattern(
        "run_length",
        ("open", "close"),
        LONGEST_RUN,
        "share, -1 to 1",
        f"bars in a row whose close rose (fell: negative), up to {LONGEST_RUN}, / {LONGEST_RUN}; an unchanged close "
        "ends the run",
    ),
)


@leaf
def candles_row(bar: Any, t: int, change: float, slots: Slots, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``change`` is the close less the previous one."""
    span = bar.high - bar.low
    raw[0] = share(bar.close - bar.open, span)
    raw[1] = share(bar.high - max(bar.open, bar.close), span)
    raw[2] = share(min(bar.open, bar.close) - bar.low, span)
    raw[3] = 0.0
    raw[4] = 0.0
    if t > 0:
        before = slots[3] - slots[0]
        body = bar.close - bar.open
        covers = max(bar.open, bar.close) >= max(slots[0], slots[3])
        covers = covers and min(bar.open, bar.close) <= min(slots[0], slots[3]) and abs(body) > abs(before)
        if covers and before < 0.0 < body:
            raw[3] = 1.0
        elif covers and body < 0.0 < before:
            raw[3] = -1.0
        if bar.high <= slots[1] and bar.low >= slots[2]:
            raw[4] = 1.0
    if change > 0.0:
        slots[4] = max(slots[4], 0.0) + 1.0
    elif change < 0.0:
        slots[4] = min(slots[4], 0.0) - 1.0
    else:
        slots[4] = 0.0
    raw[5] = min(1.0, max(-1.0, slots[4] / LONGEST_RUN))
    slots[0] = bar.open
    slots[1] = bar.high
    slots[2] = bar.low
    slots[3] = bar.close
