"""A tape of files: any number of files of one format, one symbol or several, one day or many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np

from tapelab.common.errors import SourceError
from tapelab.common.pipeline import tick_lineage
from tapelab.common.sources.files import Member, line_blocks, readable
from tapelab.common.sources.merge import MINUTE_NS, Block, Feed, merge
from tapelab.common.sources.protocol import Summary, TapeChunk, TapeSlice
from tapelab.common.sources.rejects import Rejects
from tapelab.common.sources.tick_rule import TickRule

BLOCK_BYTES: Final = 8 << 20
#: A file of which so many leading rows are all malformed is wholly wrong.
HOPELESS_ROWS: Final = 200_000


class Layout(Protocol):
    """How the rows of one file are read; a format recognises a file by making one."""

    @property
    def exchange(self) -> str:
        """Exchange of the file's prints."""
        ...

    @property
    def header_lines(self) -> int:
        """Lines before the first row."""
        ...

    @property
    def only_symbol(self) -> str | None:
        """The one symbol of the file where its name tells it; None where each row does."""
        ...

    def parse(self, raw: bytes, *, first_line: int, label: str, rejects: Rejects) -> Block:
        """Rows of a block of whole lines, in file order; the aggressor only where the row itself says it."""
        ...


class TapeFile(NamedTuple):
    """A recognised file. ``symbol`` is that of its first row; ``head_ns`` the event time there."""

    member: Member
    layout: Layout
    symbol: str
    head_ns: int


def probe(member: Member, layout: Layout, head: bytes) -> TapeFile | None:
    """The file as its first rows show it; None if there is no good row among them."""
    block = _parse_head(member, layout, head)
    if block.ticks.n == 0:
        return None
    return TapeFile(member, layout, block.symbols[int(block.codes[0])], int(block.ticks.ts_event_ns[0]))


def _parse_head(member: Member, layout: Layout, head: bytes) -> Block:
    body = head.split(b"\n", layout.header_lines)[-1] if layout.header_lines else head
    return layout.parse(body, first_line=1 + layout.header_lines, label=member.label, rejects=Rejects(None))


class FileTape:
    """Files of one format as a tape.

    Files that begin with the same symbol are read one after the other by event time; files of different
    symbols are merged. A newest-first file is recognised by its first block and turned round, for which
    it is held in memory as columns; any other file is read in blocks.

    Args:
        format_name: recorded in the lineage.
        files: at least one.
        rejects_path: where malformed rows are listed.
        symbols: leave out every other symbol; None keeps all.
        block_bytes: text read at a time.
    """

    def __init__(
        self,
        name: str,
        format_name: str,
        files: Sequence[TapeFile],
        *,
        rejects_path: Path | None = None,
        symbols: frozenset[str] | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self.name = name
        self.format_name = format_name
        self.lineage = tick_lineage(format_name, "1")
        self._files = sorted(files, key=lambda f: (f.head_ns, f.member.label))
        self._rejects_path = rejects_path
        self._only = symbols
        self._block_bytes = block_bytes
        self._rejects = Rejects(None)
        self._rows: Counter[str] = Counter()

    def symbols(self) -> dict[str, str]:
        """The symbols that the files begin with, and their exchanges."""
        found = {file.symbol: file.layout.exchange for file in self._files}
        return {s: e for s, e in sorted(found.items()) if self._only is None or s in self._only}

    def summary(self) -> Summary:
        """Counts of the last reading."""
        self._rejects.flush()
        path = self._rejects_path if self._rejects.count else None
        return Summary(sum(self._rows.values()), self._rejects.count, path, dict(self._rows), self._rejects.first)

    def chunks(self) -> Iterator[TapeChunk]:
        """The prints merged by event time to within a minute."""
        for part in self.slices(MINUTE_NS):
            yield from part.chunks

    def slices(self, slice_ns: int) -> Iterator[TapeSlice]:
        """The prints in slices of event time.

        Raises:
            SourceError: a file breaks off, holds no good row, or overlaps another of the same symbol.
        """
        self._rows = Counter()
        with Rejects(self._rejects_path) as rejects:
            self._rejects = rejects
            by_symbol: dict[str, list[TapeFile]] = {}
            for file in self._files:
                by_symbol.setdefault(file.symbol, []).append(file)
            feeds = [Feed(files[0].layout.exchange, self._chain(files, rejects)) for files in by_symbol.values()]
            for part in merge(feeds, slice_ns):
                kept = tuple(c for c in part.chunks if self._only is None or c.symbol in self._only)
                for chunk in kept:
                    self._rows[chunk.symbol] += chunk.ticks.n
                if kept:
                    yield TapeSlice(part.end_ns, kept)
        if not self._rows:
            raise SourceError(
                f"no print in {self.name}",
                expected=f"prints of {', '.join(sorted(self._only)) if self._only else 'any symbol'}",
                actual=f"only {', '.join(f.symbol for f in self._files)}",
                remedy="correct the symbol filter",
            )

    def time_range(self) -> tuple[int, int]:
        """First and last event time; a compressed file is read to its end for it, a plain one is not."""
        first = np.iinfo(np.int64).max
        last = np.iinfo(np.int64).min
        final = {file.symbol: file for file in self._files}
        for file in self._files:
            ranges = [(file.head_ns, file.head_ns)]
            if file is final[file.symbol] or not file.member.is_plain:
                ranges += self._ends(file)
            first = min(first, *(low for low, _ in ranges))
            last = max(last, *(high for _, high in ranges))
        return int(first), int(last)

    def _ends(self, file: TapeFile) -> list[tuple[int, int]]:
        if file.member.is_plain:
            tail = _parse_head(file.member, file.layout, file.member.tail())
            blocks: Iterator[Block] = iter((tail,))
        else:
            blocks = _text_blocks(file, self._block_bytes, Rejects(None))
        return [
            (int(block.ticks.ts_event_ns.min()), int(block.ticks.ts_event_ns.max()))
            for block in blocks
            if block.ticks.n
        ]

    def _chain(self, files: Sequence[TapeFile], rejects: Rejects) -> Iterator[Block]:
        latest, before = np.iinfo(np.int64).min, ""
        for file in files:
            started = False
            for block in _with_aggressors(_in_tape_order(_text_blocks(file, self._block_bytes, rejects))):
                if block.ticks.n == 0:
                    continue
                if not started and block.ticks.ts_event_ns[0] < latest:
                    raise SourceError(
                        f"two files of {file.symbol} overlap in time",
                        expected="files that follow each other",
                        actual=f"{file.member.label} begins before {before} ends",
                        remedy="leave one of them out",
                    )
                started = True
                latest = max(latest, int(block.ticks.ts_event_ns.max()))
                yield block
            before = file.member.label


def _text_blocks(file: TapeFile, block_bytes: int, rejects: Rejects) -> Iterator[Block]:
    """Blocks in file order; a file without a single good row is an error."""
    layout, label = file.layout, file.member.label
    rows, first_reject = 0, rejects.count
    with readable(file.member), file.member.open() as stream:
        for _ in range(layout.header_lines):
            stream.readline()
        for line, raw in line_blocks(stream, block_bytes):
            block = layout.parse(raw, first_line=line + layout.header_lines, label=label, rejects=rejects)
            rows += block.ticks.n
            if rows == 0 and rejects.count - first_reject > HOPELESS_ROWS:
                break
            yield block
    if rows == 0:
        raise wholly_wrong(label, rejects)


def wholly_wrong(label: str, rejects: Rejects) -> SourceError:
    """The error for a file in which nothing can be used."""
    return SourceError(
        f"no good row in {label}",
        expected="rows of the file's own format",
        actual=f"{rejects.count} malformed rows; the first: {rejects.first}" if rejects.count else "no rows",
        remedy="check the file, or name its format",
    )


def _in_tape_order(blocks: Iterator[Block]) -> Iterator[Block]:
    """Blocks oldest first: a newest-first file is held as columns and reversed row by row.

    Equal times say nothing about the direction, so a block whose ends share a time is held until one
    differs. Rows of equal time keep the order of the file, reversed with it.
    """
    held: list[Block] = []
    for block in blocks:
        held.append(block)
        filled = [b.ticks.ts_event_ns for b in held if b.ticks.n]
        if not filled or filled[0][0] == filled[-1][-1]:
            continue
        if filled[0][0] < filled[-1][-1]:
            yield from held
            yield from blocks
            return
        held.extend(blocks)
        for later in reversed(held):
            backwards = np.arange(later.ticks.n - 1, -1, -1)
            yield Block(later.symbols, later.codes[backwards], later.ticks.take(backwards))
        return
    yield from held


def _with_aggressors(blocks: Iterator[Block]) -> Iterator[Block]:
    """Blocks of one file with the tick rule applied where nothing better is known."""
    rule = TickRule()
    known: dict[str, int] = {}
    for block in blocks:
        codes = np.array([known.setdefault(symbol, len(known)) for symbol in block.symbols], np.int32)[block.codes]
        yield block._replace(ticks=rule.apply(block.ticks, codes, max(1, len(known))))
