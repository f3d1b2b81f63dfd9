"""Bars of one symbol as its prints come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.quant.bars import intake, kernel, snapshot
from tapelab.quant.bars.eligibility import first_run
from tapelab.quant.bars.records import joined
from tapelab.quant.bars.rules import trade_type_table
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.bars.state import BarState
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.dtypes import BAR_DTYPE, TICK_COLUMNS
from tapelab.quant.ticks import Ticks

#: Flags of an array the kernel was compiled for: C-contiguous, aligned, read-only.
_LAYOUT: Final = 0x0001 | 0x0100
_WRITEABLE: Final = 0x0400


class BarBuilder:
    """Closes bars of several specifications in one pass over one symbol's prints.

    The bars are a function of the prints, the session markers and the resets alone; how the prints are cut
    into chunks, and any snapshot and restore between them, never shows.

    What the fields of :data:`~tapelab.quant.dtypes.BAR_DTYPE` mean:

    - *Eligible prints* are those of :func:`~tapelab.quant.bars.rules.eligible`; all others leave no trace.
    - *The clock* of a print is the largest event time of the day's eligible prints so far: a print whose
      time goes backwards counts at the latest time seen. All times of a bar are clock times.
    - ``ts_open_ns`` is the first print's clock; ``ts_close_ns`` the last print's, for a time bar the end of
      its interval, for a session's last bar the session's close.
    - ``up_ticks``, ``down_ticks`` and ``realised_var`` compare each print with the eligible print before it,
      in whatever bar of the day; the day's first print compares with nothing and adds zero.
    - ``dt_mean_s`` and ``dt_var_s2`` are mean and population variance of the n - 1 waits between the bar's
      prints, both 0 below two prints.
    - ``vwap`` is dollar / volume, the close where no volume traded.
    - ``*_agent_hhi`` is the sum of squared shares of the bar's volume by agent, over prints whose agent is
      known (not 0); NaN where none is, or where those traded no volume. ``*_agent_top3_share`` is the share of
      the same volume that the three largest agents took.
    - ``agent_net_buy_top3`` is bought less sold volume of the three agents that added most to their position in
      the bar, ``agent_net_sell_top3`` sold less bought of the three that shed most, both in lots and 0 or more:
      what traders read off the brokers' balances. All agents' nets sum to zero where all are known, so a
      difference says on which side fewer hands move more. NaN unless known agents bought and sold.
    - ``rlp_volume`` is that of prints with the flag or the trade type RLP: a retail order that a retail liquidity
      provider of B3 took outside the queue. Such prints bear no aggressor. They are in bars where the
      instrument's ``bar_trade_types`` list 13.
    - ``large_volume`` is that of large prints: volume at least ``LARGE_TIMES`` the mean volume of the day's earlier
      eligible prints, of which there must be ``LARGE_AFTER`` (see :mod:`~tapelab.quant.bars.rules`; size tells the
      informed apart in Easley & O'Hara 1987, Price, trade size, and information in securities markets, JFE 19).
      ``large_signed_volume`` is that of its buyer aggressors less that of its seller aggressors. A print is what
      the venue reports: an order that sweeps many small resting ones prints small.
    - Trailing measures cover the day's prints up to the bar's last with clock in ``(ts_close - w, ts_close]``;
      sums are differences of running sums since the day's start, ``ret`` is log(close / first price in the
      window), and all are 0 over an empty window. ``n_*`` counts prints.
    - ``utc_offset_s`` is what the exchange's wall clock is ahead of UTC at the session's open.
    - A session's last bar has n = 0 where nothing was pending: its prices are the last price, its sums 0,
      its ``ts_open_ns`` the close and ``first_tick_seq`` = ``last_tick_seq`` + 1.
    - ``book_seq`` is that of the chunk which brought the bar's last print.
    - ``FIRST_OF_DAY`` marks the first bar of a specification on a day, ``AFTER_GAP`` the first after a reset.

    Apart from the figures by agent every field is finite for finite sums.

    Args:
        specs: what to build, at least one, no two equal.
        calendar: the symbol's sessions.
        bar_trade_types: trade types that enter bars.

    Raises:
        ValueError: no specification, a doubled one, or trade types outside 0..255.
    """

    def __init__(self, specs: Sequence[BarSpec], calendar: SessionCalendar, bar_trade_types: Collection[int]) -> None:
        if not specs or len(set(specs)) != len(specs):
            raise ValueError(f"bar specifications: expected one or more different ones, got {[str(s) for s in specs]}")
        self._specs = tuple(specs)
        self._calendar = calendar
        self._allowed = trade_type_table(bar_trade_types)
        self._types = first_run(self._allowed)
        self._config = {
            "specs": [str(spec) for spec in specs],
            "calendar": calendar.key,
            "bar_trade_types": sorted(set(bar_trade_types)),
        }
        self._state = BarState(specs)
        self._hole = (0, 0)
        self._taken: list[list[npt.NDArray[np.void]]] = [[] for _ in specs]

    @property
    def specs(self) -> tuple[BarSpec, ...]:
        """The specifications, in the order of the results."""
        return self._specs

    @property
    def session_close_ns(self) -> int:
        """When the current session closes, ns since the Unix epoch; 0 where none is current.

        No print before it ends the session.
        """
        return int(self._state.day["close_ns"][0]) if self._state.day["day"][0] else 0

    def update(self, ticks: Ticks, first_seq: int, book_seq: int = 0) -> list[npt.NDArray[np.void]]:
        """Take the next prints.

        Args:
            ticks: the symbol's next prints; may span days.
            first_seq: sequence number of the first.
            book_seq: last book record published before them.

        Returns:
            Per specification, in order, the bars that closed: ``BAR_DTYPE``, shape ``(closed,)``.
        """
        columns = tuple([_fit(ticks[at], dtype) for at, dtype in _COLUMNS])
        self._run(columns, first_seq, book_seq)
        return self._take()

    def end_session(self, session_end_ns: int) -> list[npt.NDArray[np.void]]:
        """The session that closes at this time is over.

        Closes it with its last bar if it is current; later prints before this time are late. Says nothing
        new, and does nothing, when the session has ended already or a later one is current.

        Returns:
            As :meth:`update`.
        """
        day = self._state.day[0]
        if day["day"] and session_end_ns >= day["close_ns"]:
            self._finish()
        if not day["day"] and session_end_ns > day["close_ns"]:
            self._state.forget(session_end_ns)
        return self._take()

    def end_tape(self) -> list[npt.NDArray[np.void]]:
        """No print follows: close the current session, if there is one. Returns as :meth:`update`."""
        if self._state.day["day"][0]:
            self._finish()
        return self._take()

    def reset(self, after_gap: bool) -> None:
        """Forget the current day and the pending bars; bars keep counting.

        The next print begins its session afresh. Sessions that have ended, or lie before the forgotten one,
        stay over. With ``after_gap`` the next bar of each specification is flagged.
        """
        day = self._state.day[0]
        self._state.forget(int(day["open_ns"]))
        if after_gap:
            self._state.specs["after_gap"] = 1

    def new_stream(self) -> None:
        """Forget everything; bars count from zero."""
        self._state = BarState(self._specs)

    def snapshot(self) -> bytes:
        """The state as compact bytes, a function of the input so far."""
        return self.freeze()()

    def freeze(self) -> Callable[[], bytes]:
        """The state as of now; what is returned makes the bytes of :meth:`snapshot` in any thread, whatever follows."""
        return snapshot.freeze(self._state, self._config)

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot.

        Raises:
            SnapshotMismatch: (a ``ValueError``) the snapshot is damaged or was taken with other
                specifications, sessions or trade types.
        """
        state = BarState(self._specs)
        snapshot.unpack(blob, state, self._config)
        self._state = state

    def _run(self, columns: tuple[npt.NDArray[Any], ...], first_seq: int, book_seq: int) -> None:
        row = 0
        while True:
            row, status = self._call(columns, row, first_seq, book_seq, False)
            if status == intake.DONE:
                return
            ts_ns = int(columns[0][row])
            session = self._calendar.session_at(ts_ns)
            if session is None:
                self._hole = (ts_ns, self._calendar.session_on_or_after(ts_ns).open_ns)
                continue
            if self._state.day["day"][0]:
                self._finish()
            following = self._calendar.session_on_or_after(session.close_ns)
            self._state.begin(*session, following.open_ns, self._calendar.utc_offset_s(session.open_ns))

    def _finish(self) -> None:
        self._call(_EMPTY_COLUMNS, 0, 0, 0, True)

    def _call(
        self, columns: tuple[npt.NDArray[Any], ...], row: int, first_seq: int, book_seq: int, finish: bool
    ) -> tuple[int, int]:
        while True:
            at = (row, first_seq, book_seq, *self._hole, finish)
            arguments: tuple[Any, ...] = (*columns, *at, *self._types, self._allowed, *self._state.arguments())
            row, status = kernel.advance(*arguments)
            if status == intake.OUT_FULL:
                self._flush()
            elif status == intake.RING_FULL:
                self._state.grow_ring()
            elif status == intake.AGENTS_FULL:
                self._state.grow_agents()
            else:
                return row, status

    def _flush(self) -> None:
        state = self._state
        for k, closed in enumerate(state.out_n.tolist()):
            if closed:
                self._taken[k].append(joined([state.out[k, :closed]]))
        state.out_n[:] = 0

    def _take(self) -> list[npt.NDArray[np.void]]:
        self._flush()
        taken = [pieces[0] if len(pieces) == 1 else joined(pieces) if pieces else _NO_BARS for pieces in self._taken]
        self._taken = [[] for _ in self._specs]
        return taken


def _fit(column: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The column in the one layout the kernel is compiled for; copies only what differs."""
    flags = column.flags.num
    if column.dtype != dtype or flags & _LAYOUT != _LAYOUT:
        column = np.array(column, dtype)
        flags = _WRITEABLE
    if flags & _WRITEABLE:
        column = column.view()
        column.flags.writeable = False
    return column


#: The columns the kernel reads, in its order: place in ``Ticks`` and dtype.
_COLUMNS: Final = tuple(
    (Ticks._fields.index(name), np.dtype(dict(TICK_COLUMNS)[name]))
    for name in ("ts_event_ns", "price", "volume", "aggressor", "trade_type", "flags", "buy_agent", "sell_agent")
)
_EMPTY_COLUMNS: Final = tuple(_fit(Ticks.empty()[at], dtype) for at, dtype in _COLUMNS)
_NO_BARS: Final = np.empty(0, BAR_DTYPE)
