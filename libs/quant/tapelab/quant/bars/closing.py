"""A full bar's close: its record is written, its trailing windows measured, and the next one begun."""

from __future__ import annotations

import math
from typing import Any, Final

from tapelab.quant._numba import leaf
from tapelab.quant.bars.participants import agent_figures
from tapelab.quant.bars.state import (
    RING_PRICE,
    RING_RV,
    RING_RV_LOW,
    RING_SIGNED,
    RING_SIGNED_LOW,
    RING_VOLUME,
    RING_VOLUME_LOW,
)
from tapelab.quant.dtypes import TRAILING_WINDOWS, BarFlag

_AFTER_GAP: Final = int(BarFlag.AFTER_GAP)
_FIRST_OF_DAY: Final = int(BarFlag.FIRST_OF_DAY)
#: Prints that a window's start moves by before it looks closer, a power of two.
_STRIDE: Final = 256
_W1, _W5, _W30, _W300 = (ns for _, ns in TRAILING_WINDOWS)


@leaf
def _since(high: Any, low: Any, i: int, end: int) -> float:
    """What was added from place ``i`` on, before ``end``."""
    found: float = (high[end - 1] - high[i - 1]) + (low[end - 1] - low[i - 1])
    return found


@leaf
def _window(w: int, width_ns: int, ts_close_ns: int, end: int, left: Any, ring_ts: Any, ring: Any) -> Any:
    """(ret, volume, signed volume, n, rv) over ``(ts_close - width, ts_close]``, prints before ``end``."""
    cut = ts_close_ns - width_ns
    # By strides, then by halves of one, each a choice between two places: a branch would often be guessed wrong.
    i = left[w]
    while i + _STRIDE <= end and ring_ts[i + _STRIDE - 1] <= cut:
        i += _STRIDE
    half = _STRIDE >> 1
    while half > 0:
        at = min(i + half, end)
        i = at if ring_ts[at - 1] <= cut else i
        half >>= 1
    left[w] = i
    ret = 0.0
    if i < end - 1:
        ret = math.log(ring[RING_PRICE, end - 1] / ring[RING_PRICE, i])
    # fmt: off
    return (
        ret,
        _since(ring[RING_VOLUME], ring[RING_VOLUME_LOW], i, end),
        _since(ring[RING_SIGNED], ring[RING_SIGNED_LOW], i, end),
        float(end - i),
        _since(ring[RING_RV], ring[RING_RV_LOW], i, end),
    )
    # fmt: on


@leaf
def close_bar(
    bar: Any, flags: int, ts_close_ns: int, last_seq: int, book_seq: int, end: int, day: Any, spec: Any,
    left: Any, ring_ts: Any, ring: Any, agent_volumes: Any, agent_lists: Any,
) -> None:  # fmt: skip
    """Write the pending bar, whose last print sits before ``end`` in the ring, and begin the next."""
    if spec.after_gap != 0:
        flags |= _AFTER_GAP
    if spec.bar_day != day.day:
        flags |= _FIRST_OF_DAY
    close = ring[RING_PRICE, end - 1]
    n = spec.n
    bar.seq = spec.seq
    bar.day = day.day
    bar.flags = flags
    bar.session_open_ns = day.open_ns
    bar.session_close_ns = day.close_ns
    bar.ts_open_ns = spec.ts_open_ns if n > 0 else ts_close_ns
    bar.ts_close_ns = ts_close_ns
    bar.first_tick_seq = spec.first_seq if n > 0 else last_seq + 1
    bar.last_tick_seq = last_seq
    bar.book_seq = book_seq
    bar.n = n
    bar.buy_n = spec.buy_n
    bar.sell_n = spec.sell_n
    bar.up_ticks = spec.up_ticks
    bar.down_ticks = spec.down_ticks
    bar.open = spec.open if n > 0 else close
    bar.high = spec.high if n > 0 else close
    bar.low = spec.low if n > 0 else close
    bar.close = close
    bar.volume = spec.volume
    bar.dollar = spec.dollar
    bar.buy_volume = spec.buy_volume
    bar.sell_volume = spec.sell_volume
    bar.vwap = spec.dollar / spec.volume if spec.volume > 0.0 else close
    dt_mean_ns = 0.0
    dt_var_ns2 = 0.0
    if n > 1:
        dt_mean_ns = (ring_ts[end - 1] - spec.ts_open_ns) / (n - 1)
        dt_var_ns2 = max(spec.dt_square_ns2 / (n - 1) - dt_mean_ns * dt_mean_ns, 0.0)
    bar.dt_mean_s = dt_mean_ns * 1e-9
    bar.dt_var_s2 = dt_var_ns2 * 1e-18
    bar.realised_var = spec.realised_var
    bar.utc_offset_s = day.utc_offset_s
    bar.rlp_volume = spec.rlp_volume
    bar.large_volume = spec.large_volume
    bar.large_signed_volume = spec.large_signed_volume
    agent_figures(
        bar, agent_lists[0, : spec.buy_agents], agent_lists[1, : spec.sell_agents], agent_volumes[0], agent_volumes[1]
    )
    # fmt: off
    bar.ret_1s, bar.volume_1s, bar.signed_volume_1s, bar.n_1s, bar.rv_1s = _window(
        0, _W1, ts_close_ns, end, left, ring_ts, ring)
    bar.ret_5s, bar.volume_5s, bar.signed_volume_5s, bar.n_5s, bar.rv_5s = _window(
        1, _W5, ts_close_ns, end, left, ring_ts, ring)
    bar.ret_30s, bar.volume_30s, bar.signed_volume_30s, bar.n_30s, bar.rv_30s = _window(
        2, _W30, ts_close_ns, end, left, ring_ts, ring)
    bar.ret_5m, bar.volume_5m, bar.signed_volume_5m, bar.n_5m, bar.rv_5m = _window(
        3, _W300, ts_close_ns, end, left, ring_ts, ring)
    # fmt: on
    spec.seq += 1
    spec.bar_day = day.day
    spec.after_gap = 0
    spec.n = 0
    spec.buy_agents = 0
    spec.sell_agents = 0
    spec.volume = 0.0
    spec.dollar = 0.0
    spec.buy_n = 0
    spec.sell_n = 0
    spec.up_ticks = 0
    spec.down_ticks = 0
    spec.first_seq = 0
    spec.ts_open_ns = 0
    spec.bucket_end_ns = 0
    spec.open = 0.0
    spec.high = 0.0
    spec.low = 0.0
    spec.buy_volume = 0.0
    spec.sell_volume = 0.0
    spec.dt_square_ns2 = 0.0
    spec.realised_var = 0.0
    spec.rlp_volume = 0.0
    spec.large_volume = 0.0
    spec.large_signed_volume = 0.0
