"""Barriers, events and weights again, slow and readable: one label and one row of its path at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tapelab.quant.labels.fixed_horizon import Float64, Int64
from tapelab.quant.labels.reference import Label


def reference_first_touch(
    high: Float64, low: Float64, start: Int64, stop: Int64, upper: Float64, lower: Float64, side: Any = None
) -> list[tuple[int, int]]:
    """Row and side of :func:`~tapelab.quant.labels.first_touch.first_touch`, by walking each span."""
    touches = []
    for i in range(len(start)):
        touch = int(stop[i]), 0
        for j in range(int(start[i]), int(stop[i])):
            above = bool(high[j] >= upper[i] and math.isfinite(upper[i]))
            below = bool(low[j] <= lower[i] and math.isfinite(lower[i]))
            if above or below:
                short = side is not None and side[i] < 0
                touch = j, (1 if short else -1) if above and below else 1 if above else -1
                break
        touches.append(touch)
    return touches


def reference_triple_barrier_trades(
    ts_close_ns: Int64,
    session_close_ns: Int64,
    tick_ts_ns: Int64,
    tick_price: Float64,
    *,
    upper: Float64,
    lower: Float64,
    horizon_ns: int,
    delay_ns: int = 0,
    timeout: str = "zero",
) -> list[Label]:
    """What ``triple_barrier_trades`` returns for a horizon in time, by scanning the tape."""
    labels = []
    for i in range(len(ts_close_ns)):
        entry_ns = int(ts_close_ns[i]) + delay_ns
        end_ns, known, now_ns = entry_ns + horizon_ns, False, None
        entry = exit_ = None
        side, touch_ns = 0, 0
        for ts_ns, price in zip(tick_ts_ns.tolist(), tick_price.tolist(), strict=True):
            now_ns = ts_ns if now_ns is None else max(now_ns, ts_ns)
            if now_ns <= entry_ns:
                entry = exit_ = price
            elif now_ns > end_ns:
                known = True
            elif entry is not None and side == 0:
                exit_ = price
                if entry > 0.0 and price >= entry * (1.0 + upper[i]) and upper[i] < math.inf:
                    side, touch_ns = 1, now_ns
                elif entry > 0.0 and price <= entry * (1.0 - lower[i]):
                    side, touch_ns = -1, now_ns
        valid = known and end_ns <= session_close_ns[i] and entry is not None and exit_ is not None
        if not valid or entry is None or exit_ is None or not 0.0 < entry < math.inf or math.isnan(upper[i] + lower[i]):
            labels.append(Label(0, None, end_ns, False))
        elif not 0.0 < exit_ < math.inf:
            labels.append(Label(0, None, touch_ns if side else end_ns, False))
        else:
            by_time = (exit_ > entry) - (exit_ < entry) if timeout == "sign" else 0
            labels.append(Label(side or by_time, math.log(exit_ / entry), touch_ns if side else end_ns, True))
    return labels


def reference_ewm_volatility(close: Float64, day: npt.NDArray[np.int32], *, half_life: float, minimum: int) -> Float64:
    """What ``ewm_volatility`` returns, every bar from its whole past."""
    out = np.full(len(close), np.nan)
    for i in range(len(close)):
        weight = total = 0.0
        seen = 0
        keep = 0.5 ** (1.0 / half_life)
        for j in range(i + 1):
            if j == 0 or day[j] != day[i] or day[j - 1] != day[i]:
                continue
            before, after = float(close[j - 1]), float(close[j])
            if 0.0 < before < math.inf and 0.0 < after < math.inf:
                change = after / before - 1.0
                total, weight, seen = keep * total + change * change, keep * weight + 1.0, seen + 1
        if seen >= minimum:
            out[i] = math.sqrt(total / weight)
    return out


def reference_cusum(change: Float64, day: npt.NDArray[np.int32], threshold: Float64) -> list[int]:
    """Events over log returns ``change``, as in the book's snippet 2.4."""
    events: list[int] = []
    up = down = 0.0
    for i in range(len(change)):
        events.append(0)
        if i == 0 or day[i] != day[i - 1]:
            up = down = 0.0
        elif math.isfinite(change[i]):
            up, down = max(0.0, up + float(change[i])), min(0.0, down + float(change[i]))
            if up > threshold[i]:
                up, events[-1] = 0.0, 1
            elif down < -threshold[i]:
                down, events[-1] = 0.0, -1
    return events


def reference_uniqueness(first: Int64, last: Int64) -> list[float]:
    """Average uniqueness by counting, for every bar of every span, the spans that cover it."""
    shares = []
    for begin, end in zip(first.tolist(), last.tolist(), strict=True):
        total = 0.0
        for t in range(begin, end + 1):
            total += 1.0 / sum(1 for a, b in zip(first, last, strict=True) if a <= t <= b)
        shares.append(total / (end - begin + 1))
    return shares


def reference_attribution(first: Int64, last: Int64, ret: Float64) -> list[float]:
    """Return attribution by the same counting."""
    weights = []
    for begin, end in zip(first.tolist(), last.tolist(), strict=True):
        total = 0.0
        for t in range(begin, end + 1):
            if math.isfinite(ret[t]):
                total += float(ret[t]) / sum(1 for a, b in zip(first, last, strict=True) if a <= t <= b)
        weights.append(abs(total))
    return weights
