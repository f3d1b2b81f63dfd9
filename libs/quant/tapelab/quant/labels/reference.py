"""The labels again, slow and readable: one bar and one trade at a time."""

from __future__ import annotations

import math
from typing import NamedTuple

from tapelab.quant.labels.fixed_horizon import Float64, Int64


class Label(NamedTuple):
    """One bar's label; ``ret`` is None where it is not valid."""

    label: int
    ret: float | None
    ts_end_ns: int
    valid: bool


def reference_sign_of_return(
    ts_close_ns: Int64,
    session_close_ns: Int64,
    tick_ts_ns: Int64,
    tick_price: Float64,
    *,
    horizon_ns: int,
    delay_ns: int = 0,
    known_until_ns: int | None = None,
) -> list[Label]:
    """What :func:`~tapelab.quant.labels.fixed_horizon.sign_of_return` returns, by scanning the tape."""
    labels = []
    for close_ns, session_ns in zip(ts_close_ns.tolist(), session_close_ns.tolist(), strict=True):
        entry_ns = close_ns + delay_ns
        end_ns = entry_ns + horizon_ns
        entry_price = end_price = None
        known = known_until_ns is not None and known_until_ns >= end_ns
        now_ns = None
        for ts_ns, price in zip(tick_ts_ns.tolist(), tick_price.tolist(), strict=True):
            now_ns = ts_ns if now_ns is None else max(now_ns, ts_ns)
            if now_ns <= entry_ns:
                entry_price = price
            if now_ns <= end_ns:
                end_price = price
            else:
                known = True
        labels.append(_label(entry_price, end_price, end_ns, known and end_ns <= session_ns))
    return labels


def reference_sign_of_return_trades(
    ts_close_ns: Int64,
    session_close_ns: Int64,
    tick_ts_ns: Int64,
    tick_price: Float64,
    *,
    n_trades: int,
    delay_ns: int = 0,
) -> list[Label]:
    """What :func:`~tapelab.quant.labels.fixed_horizon.sign_of_return_trades` returns, by scanning the tape."""
    labels = []
    for close_ns, session_ns in zip(ts_close_ns.tolist(), session_close_ns.tolist(), strict=True):
        entry_price = end_price = None
        end_ns, later, now_ns = session_ns, 0, None
        for ts_ns, price in zip(tick_ts_ns.tolist(), tick_price.tolist(), strict=True):
            now_ns = ts_ns if now_ns is None else max(now_ns, ts_ns)
            if now_ns <= close_ns + delay_ns:
                entry_price = price
            elif entry_price is not None:
                later += 1
                if later == n_trades:
                    end_price, end_ns = price, now_ns
        labels.append(_label(entry_price, end_price, end_ns, end_ns <= session_ns))
    return labels


def _label(entry: float | None, end: float | None, end_ns: int, valid: bool) -> Label:
    if not valid or entry is None or end is None or not (0.0 < entry < math.inf and 0.0 < end < math.inf):
        return Label(0, None, end_ns, False)
    return Label((end > entry) - (end < entry), math.log(end / entry), end_ns, True)
