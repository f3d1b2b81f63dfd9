"""What the bars stage carries for one symbol's prints, and the day from which it makes bars of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from tapelab.bars.runs import Rows, Run
from tapelab.common.instruments import Instruments
from tapelab.common.pipeline import bar_lineage
from tapelab.common.schemas.ticks import TickBatch
from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.rules import eligible
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.calendar import SessionCalendar


class TrackState(msgspec.Struct, frozen=True, array_like=True):
    """A track in a snapshot."""

    symbol: str
    tick_lineage: str
    lineages: list[str]
    builder: bytes
    begins: int
    undated: bool
    withheld: list[int]


class Track:
    """One symbol's prints of one lineage, and the bars built from them.

    Bars are whole or are not written. Where the log has lost the beginning of a stream, they begin with the first
    session that lies in the log as a whole: what comes before goes through the builder, which so learns which
    prints are late, and its bars are withheld. ``begins`` is that session's day, 0 where the stream is whole. Bars
    are then counted from there and are a lineage of their own.
    """

    def __init__(self, symbol: str, tick_lineage: str, specs: Sequence[BarSpec], instruments: Instruments) -> None:
        self._instrument = instruments.of(symbol)
        self._session = instruments.sessions[self._instrument.session]
        self._symbol = symbol
        self._tick_lineage = tick_lineage
        self.calendar: SessionCalendar = instruments.calendar(symbol)
        self.builder = BarBuilder(specs, self.calendar, self._instrument.bar_trade_types)
        self.names = [str(spec) for spec in specs]
        self.known = False  # a stream of it was seen
        #: Batches of the step under way that are still to be computed.
        self.run: Run | None = None
        self._undated = False
        self._lay_down(0)

    @property
    def begins(self) -> int:
        """The day from which bars are built, 0 if that is the stream's first print."""
        return self._begins

    def new_stream(self, *, whole: bool) -> None:
        """Begin anew; ``whole`` says that the stream's beginning is in the log."""
        self.builder.new_stream()
        self.known = True
        self._undated = not whole
        self._lay_down(0)

    def look(self, batch: TickBatch) -> None:
        """Learn from the first prints, or the first session's end, of a stream whose beginning is lost."""
        if not self._undated:
            return
        if batch.n == 0:
            self._date(batch.session_end_ns - 1)
            return
        ticks = batch.ticks()
        times = ticks.ts_event_ns[eligible(ticks, self.calendar, self._instrument.bar_trade_types)]
        if len(times):
            # The middle one: a print that comes a day late must not make its day the first one.
            self._date(int(np.sort(times)[len(times) // 2]))

    def whole(self, spec: int, rows: Rows) -> Rows:
        """Those of a specification's closed bars that are of whole days, numbered from the first of them."""
        if self._undated:
            rows = rows[:0]
        if not self._begins:
            return rows
        lost = int(np.count_nonzero(rows["day"] < self._begins))
        self._withheld[spec] += lost
        rows = rows[lost:].copy()
        rows["seq"] -= self._withheld[spec]
        return rows

    def freeze(self) -> Callable[[], TrackState]:
        """The state as of now, made by what is returned, in any thread."""
        builder, lineages = self.builder.freeze(), self.lineages
        begins, undated, withheld = self._begins, self._undated, list(self._withheld)
        return lambda: TrackState(self._symbol, self._tick_lineage, lineages, builder(), begins, undated, withheld)

    def restore(self, state: TrackState) -> None:
        """Continue from a snapshot, whose ``lineages`` the caller compares.

        Raises:
            SnapshotMismatch: it is of another configuration or layout, or damaged.
        """
        self.builder.restore(state.builder)
        self._lay_down(state.begins)
        self.known, self._undated, self._withheld = True, state.undated, list(state.withheld)

    def _date(self, ts_ns: int) -> None:
        session = self.calendar.session_on_or_after(ts_ns)
        self._undated = False
        self._lay_down(self.calendar.session_on_or_after(session.close_ns).day)

    def _lay_down(self, begins: int) -> None:
        self._begins = begins
        self._withheld = [0] * len(self.names)
        self.lineages = [
            bar_lineage(name, self._instrument, self._session, self._tick_lineage, begins) for name in self.names
        ]
