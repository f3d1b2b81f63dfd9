"""Bars of a whole tape without trailing windows and agents: what charts and comparisons need, several times faster."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.quant.bars import plain_kernel as kernel
from tapelab.quant.bars.kernel import DONE, OUT_FULL
from tapelab.quant.bars.rules import trade_type_table
from tapelab.quant.bars.spec import BAR_KINDS, BarSpec
from tapelab.quant.bars.state import BEFORE_ALL, BLOCK, DAY_DTYPE, SIDE_SHARES
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.ticks import Ticks

#: Fields of :data:`~tapelab.quant.dtypes.BAR_DTYPE` that a plain bar has.
PLAIN_FIELDS: Final = (
    "seq", "day", "flags", "ts_open_ns", "ts_close_ns", "first_tick_seq", "last_tick_seq", "n", "buy_n", "sell_n",
    "open", "high", "low", "close", "volume", "dollar", "buy_volume", "sell_volume", "vwap",
)  # fmt: skip
PLAIN_BAR_DTYPE: Final = np.dtype([(name, BAR_DTYPE[name]) for name in PLAIN_FIELDS])

_BITS: Final = {"high": "high_bits", "low": "low_bits"}
#: The same with high and low as bit patterns, as the kernel finds them.
_OUT_DTYPE: Final = np.dtype(
    [(_BITS.get(name, name), "<i8" if name in _BITS else BAR_DTYPE[name]) for name in PLAIN_FIELDS]
)
_OUT_ROWS: Final = 16 * BLOCK

_STATE_DTYPE: Final = np.dtype(
    [
        *((name, "<i8") for name in ("kind", "interval_ns", "seq", "bar_day", "n", "buy_n", "sell_n", "first_seq")),
        *((name, "<i8") for name in ("ts_open_ns", "bucket_end_ns", "high_bits", "low_bits", "last_bits")),
        *((name, "<f8") for name in ("threshold", "open", "last", "volume", "dollar", "buy_volume", "sell_volume")),
    ]
)

_ROWS: Final = np.arange(BLOCK)


def compute_plain_bars(
    ticks: Ticks,
    spec: BarSpec,
    calendar: SessionCalendar,
    bar_trade_types: Collection[int],
    *,
    first_seq: int = 0,
    tape_ended: bool = True,
) -> npt.NDArray[np.void]:
    """The plain fields of :func:`~tapelab.quant.bars.offline.compute_bars`, bit for bit, at a fraction of its cost.

    Args:
        ticks: the whole tape, in order.
        spec: what closes a bar.
        calendar: the symbol's sessions.
        bar_trade_types: trade types that enter bars.
        first_seq: sequence number of the first print.
        tape_ended: whether the tape's last session is over and closes with its last bar.

    Returns:
        :data:`PLAIN_BAR_DTYPE`, shape ``(bars,)``; fields mean what they mean in a
        :class:`~tapelab.quant.bars.builder.BarBuilder`, of which no field is NaN for finite sums.
    """
    columns = _columns(ticks)
    allowed = trade_type_table(bar_trade_types)
    days, states = np.zeros(1, DAY_DTYPE), np.zeros(1, _STATE_DTYPE)
    day, state = days[0], states[0]
    state["kind"], state["threshold"], state["interval_ns"] = (
        BAR_KINDS.index(spec.kind),
        spec.threshold,
        spec.interval_ns,
    )
    for name in ("open_ns", "close_ns", "next_open_ns", "clock_ns"):
        day[name] = BEFORE_ALL
    price = np.empty(BLOCK)
    # fmt: off
    packed = (
        np.empty(BLOCK, np.int64), price, price.view(np.int64), np.empty(BLOCK), np.empty(BLOCK, np.uint8),
        np.empty(BLOCK, np.int64),
    )
    # fmt: on
    out = np.empty(_OUT_ROWS, _OUT_DTYPE)
    pieces: list[npt.NDArray[np.void]] = []
    row = taken = 0
    hole = (0, 0)

    def flush() -> None:
        nonlocal taken
        pieces.append(out[:taken].copy())
        taken = 0

    def finish() -> None:
        nonlocal taken
        if taken == len(out):
            flush()
        kernel.finish_plain(days, states, out, taken)
        taken += 1

    while True:
        arguments: tuple[Any, ...] = (
            *columns,
            row,
            first_seq,
            *hole,
            allowed,
            SIDE_SHARES,
            _ROWS,
            days,
            states,
            *packed,
            out,
            taken,
        )
        row, taken, status = kernel.advance_plain(*arguments)
        if status == DONE:
            break
        if status == OUT_FULL:
            flush()
            continue
        ts_ns = int(ticks.ts_event_ns[row])
        session = calendar.session_at(ts_ns)
        if session is None:
            hole = (ts_ns, calendar.session_on_or_after(ts_ns).open_ns)
            continue
        if day["day"]:
            finish()
        day["day"], day["open_ns"], day["close_ns"] = session
        day["next_open_ns"] = calendar.session_on_or_after(session.close_ns).open_ns
        day["clock_ns"] = BEFORE_ALL
    if tape_ended and day["day"]:
        finish()
    flush()
    return np.concatenate(pieces).view(PLAIN_BAR_DTYPE)


def _columns(ticks: Ticks) -> tuple[npt.NDArray[Any], ...]:
    """The columns the kernel reads, in its order; copies only what is not contiguous."""
    price = np.ascontiguousarray(ticks.price, np.float64)
    volume = np.ascontiguousarray(ticks.volume, np.float64)
    columns: tuple[npt.NDArray[Any], ...] = (
        np.ascontiguousarray(ticks.ts_event_ns, np.int64),
        price,
        volume,
        np.ascontiguousarray(ticks.aggressor, np.int8).view(np.uint8),
        np.ascontiguousarray(ticks.trade_type, np.uint8),
        np.ascontiguousarray(ticks.flags, np.uint16),
        price.view(np.int64),
        volume.view(np.int64),
    )
    for at, column in enumerate(columns):
        if column.flags.writeable:
            view = column.view()
            view.flags.writeable = False
            columns = (*columns[:at], view, *columns[at + 1 :])
    return columns
