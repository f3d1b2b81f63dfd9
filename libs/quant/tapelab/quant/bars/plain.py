"""Bars without trailing windows and agents: what charts and comparisons need, several times faster."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.quant.bars import plain_kernel as kernel
from tapelab.quant.bars.eligibility import INF_BITS, first_run
from tapelab.quant.bars.intake import DONE, OUT_FULL
from tapelab.quant.bars.records import joined
from tapelab.quant.bars.rules import trade_type_table
from tapelab.quant.bars.spec import BAR_KINDS, BarSpec
from tapelab.quant.bars.state import BEFORE_ALL
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.dtypes import BAR_DTYPE, TICK_COLUMNS
from tapelab.quant.ticks import Ticks

#: Fields of :data:`~tapelab.quant.dtypes.BAR_DTYPE` that a plain bar has.
PLAIN_FIELDS: Final = (
    "seq", "day", "flags", "ts_open_ns", "ts_close_ns", "first_tick_seq", "last_tick_seq", "n", "buy_n", "sell_n",
    "open", "high", "low", "close", "volume", "dollar", "buy_volume", "sell_volume", "vwap",
)  # fmt: skip
PLAIN_BAR_DTYPE: Final = np.dtype([(name, BAR_DTYPE[name]) for name in PLAIN_FIELDS])


class PlainBars:
    """Closes bars of one specification over one symbol's prints, with the plain fields only.

    The bars are those of a :class:`~tapelab.quant.bars.builder.BarBuilder` given the same prints, field by field and
    bit for bit, however the prints are cut into chunks. What is carried from chunk to chunk does not grow.

    Args:
        spec: what closes a bar.
        calendar: the symbol's sessions.
        bar_trade_types: trade types that enter bars.

    Raises:
        ValueError: trade types outside 0..255.
    """

    def __init__(self, spec: BarSpec, calendar: SessionCalendar, bar_trade_types: Collection[int]) -> None:
        self._spec = spec
        self._calendar = calendar
        self._allowed = trade_type_table(bar_trade_types)
        self._small = self._out = np.empty(_OUT_ROWS, PLAIN_BAR_DTYPE)
        self._bytes = self._small.view(np.uint8)
        self._taken = 0
        self._pieces: list[npt.NDArray[np.void]] = []
        self.new_stream()

    def new_stream(self) -> None:
        """Forget everything; bars count from zero."""
        self._state = state = np.zeros(1, kernel.PLAIN_STATE_DTYPE)
        state["kind"] = BAR_KINDS.index(self._spec.kind)
        state["threshold"] = self._spec.threshold
        state["interval_ns"] = self._spec.interval_ns
        state["low_bits"] = INF_BITS
        state["first_type"], state["last_type"] = first_run(self._allowed)
        for name in ("open_ns", "close_ns", "next_open_ns", "clock_ns"):
            state[name] = BEFORE_ALL

    def update(self, ticks: Ticks, first_seq: int) -> npt.NDArray[np.void]:
        """Take the next prints.

        Args:
            ticks: the symbol's next prints; may span days.
            first_seq: sequence number of the first.

        Returns:
            The bars that closed: :data:`PLAIN_BAR_DTYPE`, shape ``(closed,)``.
        """
        self._run(ticks, first_seq)
        return self._take()

    def _run(self, ticks: Ticks, first_seq: int) -> None:
        columns = _columns(ticks)
        row = 0
        while True:
            arguments = (*columns, row, first_seq, self._allowed, self._state, self._out, self._taken)
            row, self._taken, status = kernel.advance_plain(*arguments)
            if status == DONE:
                return
            if status == OUT_FULL:
                self._flush()
            else:
                self._enter(int(ticks.ts_event_ns[row]))

    def end_tape(self) -> npt.NDArray[np.void]:
        """No print follows: close the current session, if there is one. Returns as :meth:`update`."""
        self._finish()
        return self._take()

    def _enter(self, ts_ns: int) -> None:
        """Make the session of this time current, or note that it lies in none."""
        state = self._state[0]
        session = self._calendar.session_at(ts_ns)
        if session is None:
            state["hole_from"], state["hole_to"] = ts_ns, self._calendar.session_on_or_after(ts_ns).open_ns
            return
        self._finish()
        state["day"], state["open_ns"], state["close_ns"] = session
        state["next_open_ns"] = self._calendar.session_on_or_after(session.close_ns).open_ns
        state["clock_ns"] = BEFORE_ALL

    def _finish(self) -> None:
        if self._state["day"][0]:
            if self._taken == len(self._out):
                self._flush()
            kernel.finish_plain(self._state, self._out, self._taken)
            self._taken += 1

    def _flush(self) -> None:
        # Of a long tape every bar is copied once, when all are there.
        self._pieces.append(self._out[: self._taken])
        self._out, self._taken = np.empty(_PIECE_ROWS, PLAIN_BAR_DTYPE), 0

    def _take(self) -> npt.NDArray[np.void]:
        bars: npt.NDArray[np.void]
        if self._pieces:
            bars = joined([*self._pieces, self._out[: self._taken]])
            self._out, self._pieces = self._small, []
        else:  # the same for the few bars of a chunk, at half the cost
            raw = self._bytes[: self._taken * PLAIN_BAR_DTYPE.itemsize].copy()
            bars = np.ndarray(self._taken, PLAIN_BAR_DTYPE, raw)
        self._taken = 0
        return bars


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
    builder = PlainBars(spec, calendar, bar_trade_types)
    builder._run(ticks, first_seq)
    if tape_ended:
        builder._finish()
    return builder._take()


#: Rows a builder keeps for closed bars, and the rows of a further piece where a long tape fills them.
_OUT_ROWS: Final = 2 * kernel.BLOCK
_PIECE_ROWS: Final = 32 * kernel.BLOCK

#: The columns the kernel reads, in its order: place in ``Ticks`` and dtype.
_COLUMNS: Final = tuple(
    (Ticks._fields.index(name), np.dtype(dict(TICK_COLUMNS)[name]))
    for name in ("ts_event_ns", "price", "volume", "aggressor", "trade_type", "flags")
)
#: Flags of an array the kernel is compiled for: C-contiguous, aligned, read-only.
_LAYOUT: Final = 0x0001 | 0x0100
_WRITEABLE: Final = 0x0400


def _columns(ticks: Ticks) -> tuple[Any, ...]:
    """The columns the kernel reads, in the one layout it is compiled for; copies only what differs."""
    columns = []
    for at, dtype in _COLUMNS:
        column = ticks[at]
        flags = column.flags.num
        if column.dtype != dtype or flags & _LAYOUT != _LAYOUT:
            column = np.array(column, dtype)
            flags = _WRITEABLE
        if flags & _WRITEABLE:
            column = column.view()
            column.flags.writeable = False
        columns.append(column)
    return tuple(columns)
