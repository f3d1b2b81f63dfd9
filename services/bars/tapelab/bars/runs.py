"""Consecutive batches of one symbol, computed in one call of the kernel.

A call costs several times what the prints of one batch cost, and batches come in hundreds when a stage catches up.
Which record closed a bar must not be lost by that: bars are written in the order of those records and carry
their stamps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from tapelab.common.schemas.ticks import TickBatch, joined
from tapelab.quant.bars.builder import BarBuilder

#: Prints of one call. More gain nothing, and memory and the time that one call takes stay bounded.
MOST_PRINTS: Final = 65_536

Rows = npt.NDArray[np.void]


class Run:
    """Checked batches that follow each other in their sequence, under one book position.

    Args:
        batch: the first of them; what it says besides its prints holds for all.
        cause: the index of its record.
        skip: how many of its prints were seen before.
    """

    def __init__(self, batch: TickBatch, cause: int, skip: int) -> None:
        self.batch = batch
        self._skip = skip
        self._first_seq = batch.first_seq + skip
        self._batches = [batch]
        self._causes = [cause]
        self._ends = [batch.first_seq + batch.n]

    def takes(self, batch: TickBatch) -> bool:
        """Whether the batch goes on where this run ends."""
        mine = self.batch
        together = batch.first_seq + batch.n - self._first_seq
        same = batch.book_seq == mine.book_seq and batch.exchange == mine.exchange
        return batch.first_seq == self._ends[-1] and same and together <= MOST_PRINTS

    def add(self, batch: TickBatch, cause: int) -> None:
        """Take the next batch; ``cause`` is the index of its record."""
        self._batches.append(batch)
        self._causes.append(cause)
        self._ends.append(batch.first_seq + batch.n)

    def compute(self, builder: BarBuilder) -> Iterator[tuple[int, Rows, list[int]]]:
        """(index of the specification, bars that closed, the record that closed each of them).

        A bar that closes with its own last print names its record by that print's number. Bars that a later print
        closes (those of time, and a session's last) do not; where such may come, each batch is a call of its own.
        """
        ticks, book_seq = joined(self._batches).slice(self._skip), self.batch.book_seq
        several = len(self._batches) > 1 and all(spec.kind != "time" for spec in builder.specs)
        if several and int(ticks.ts_event_ns.max()) < builder.session_close_ns:
            for spec, rows in enumerate(builder.update(ticks, self._first_seq, book_seq)):
                if len(rows):
                    batches = np.searchsorted(self._ends, rows["last_tick_seq"], side="right")
                    yield spec, rows, [self._causes[batch] for batch in batches.tolist()]
            return
        begin = self._first_seq
        for cause, end in zip(self._causes, self._ends, strict=True):
            part = ticks.slice(begin - self._first_seq, end - self._first_seq)
            for spec, rows in enumerate(builder.update(part, begin, book_seq)):
                if len(rows):
                    yield spec, rows, [cause] * len(rows)
            begin = end
