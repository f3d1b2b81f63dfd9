"""Merging feeds of prints by event time, in slices, without holding more than a block of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.common.sources.protocol import TapeChunk, TapeSlice
from tapelab.quant.ticks import Ticks

MINUTE_NS: Final = 60_000_000_000


class Block(NamedTuple):
    """Rows of one file in tape order, possibly of several symbols.

    ``codes`` (i32, shape ``(n,)``) index ``symbols``.
    """

    symbols: tuple[str, ...]
    codes: npt.NDArray[np.int32]
    ticks: Ticks

    @staticmethod
    def of_one(symbol: str, ticks: Ticks) -> Block:
        """A block of a single symbol."""
        return Block((symbol,), np.zeros(ticks.n, np.int32), ticks)


class Feed(NamedTuple):
    """A run of blocks in order: one file, or the files of a symbol one after the other."""

    exchange: str
    blocks: Iterator[Block]


class _Head:
    """What is read of a feed and not given out yet."""

    def __init__(self, feed: Feed) -> None:
        self.exchange = feed.exchange
        self._blocks = feed.blocks
        self._block = Block((), np.empty(0, np.int32), Ticks.empty())
        self._order = np.empty(0, np.int64)
        self._at = 0
        self._latest = np.iinfo(np.int64).min

    def next_ns(self) -> int | None:
        """Where the feed stands: the running maximum of event time at its next print; None at its end."""
        while self._at == self._block.ticks.n:
            block = next(self._blocks, None)
            if block is None:
                return None
            self._block, self._at = block, 0
            if block.ticks.n:
                self._order = np.maximum(np.maximum.accumulate(block.ticks.ts_event_ns), self._latest)
                self._latest = int(self._order[-1])
        return int(self._order[self._at])

    def take(self, end_ns: int, into: dict[str, tuple[str, list[Ticks]]]) -> None:
        """Move every print before ``end_ns`` into the lists per symbol."""
        while True:
            at = self.next_ns()
            if at is None or at >= end_ns:
                return
            stop = int(np.searchsorted(self._order, end_ns, side="left"))
            codes = self._block.codes[self._at : stop]
            ticks = self._block.ticks.slice(self._at, stop)
            for code in np.unique(codes).tolist() if len(self._block.symbols) > 1 else [0]:
                rows = ticks if len(self._block.symbols) == 1 else ticks.take(codes == code)
                into.setdefault(self._block.symbols[code], (self.exchange, []))[1].append(rows)
            self._at = stop


def merge(feeds: Sequence[Feed], slice_ns: int) -> Iterator[TapeSlice]:
    """Slices over all feeds.

    Slices lie on a fixed grid (multiples of ``slice_ns`` since the epoch), so they depend on the prints
    alone and not on how the files are cut into blocks. Symbols within a slice come sorted by name.
    """
    heads = [_Head(feed) for feed in feeds]
    while True:
        times = [at for head in heads if (at := head.next_ns()) is not None]
        if not times:
            return
        end_ns = (min(times) // slice_ns + 1) * slice_ns
        taken: dict[str, tuple[str, list[Ticks]]] = {}
        for head in heads:
            head.take(end_ns, taken)
        yield TapeSlice(
            end_ns,
            tuple(
                TapeChunk(symbol, exchange, Ticks.concatenate(parts))
                for symbol, (exchange, parts) in sorted(taken.items())
            ),
        )
