"""What every tape offers: prints of one or several symbols, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from tapelab.quant.ticks import Ticks


class TapeChunk(NamedTuple):
    """Consecutive prints of one symbol; its ``seq`` is the running count of the symbol's prints, from 0."""

    symbol: str
    exchange: str
    ticks: Ticks


class TapeSlice(NamedTuple):
    """A stretch of event time: every print of the tape before ``end_ns`` that was not in an earlier slice.

    A print that comes late (its time is before its predecessor's) keeps its place in the file, so it
    stands in the slice of the print before it. There is at most one chunk per symbol, none of them empty.
    """

    end_ns: int
    chunks: tuple[TapeChunk, ...]


class Summary(NamedTuple):
    """What the last reading of a tape saw so far.

    Args:
        rows: prints given out.
        rejects: malformed rows that were left out.
        rejects_path: where they are listed as file, line, reason; ``None`` where nobody asked for it.
        symbols: prints per symbol.
        first_reject: the first of them as text, empty without any.
    """

    rows: int
    rejects: int
    rejects_path: Path | None
    symbols: Mapping[str, int]
    first_reject: str


class Tape(Protocol):
    """A recorded or simulated run of prints that can be read again and again, with the same result."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    @property
    def lineage(self) -> str:
        """Hash of the source's kind and of the options that change what it emits."""
        ...

    def symbols(self) -> dict[str, str]:
        """Symbols that are known before reading, with their exchanges; a file may hold more."""
        ...

    def slices(self, slice_ns: int) -> Iterator[TapeSlice]:
        """The tape in stretches of at most ``slice_ns``, in order; empty stretches are left out."""
        ...

    def chunks(self) -> Iterator[TapeChunk]:
        """The tape in order, merged over symbols by event time to within a minute."""
        ...

    def time_range(self) -> tuple[int, int]:
        """Event times of the first and of the last print, ns."""
        ...

    def summary(self) -> Summary:
        """Counts of the last reading; complete once its iterator is exhausted."""
        ...
