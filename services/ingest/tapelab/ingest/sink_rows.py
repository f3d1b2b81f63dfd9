"""What the tick sink writes of the records it reads: each print once, as bytes of a binary COPY."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tapelab.common.errors import PoisonRecord
from tapelab.common.runtime.keyed import decode_keyed
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.sources.pg_binary import encode_rows

#: (symbol, stream)
Who = tuple[str, int]


class Mark(NamedTuple):
    """How far a stream has been written."""

    lineage: str
    next_seq: int


class Writing(NamedTuple):
    """Rows to write and the marks that go with them.

    Args:
        parts: binary COPY rows in order.
        rows: their number.
        marks: marks that move.
        holes: prints that are missing before a written one, as messages.
        missing: number of those prints.
        dead: records that could not be decoded, as messages.
        repeated: prints that had been written before.
    """

    parts: list[bytes]
    rows: int
    marks: dict[Who, Mark]
    holes: list[str]
    missing: int
    dead: list[str]
    repeated: int


def rows_of(records: Sequence[Record], marks: Mapping[Who, int]) -> Writing:
    """Rows of some records, given the marks so far; a stream without a mark begins at 0."""
    parts: list[bytes] = []
    moved: dict[Who, Mark] = {}
    holes: list[str] = []
    dead: list[str] = []
    rows = missing = repeated = 0
    for record in records:
        where = f"{record.topic}[{record.partition}]@{record.offset}"
        try:
            batch: TickBatch = decode_keyed(record)
            ticks = batch.ticks()
        except PoisonRecord as error:
            dead.append(f"{where}: {error}")
            continue
        if batch.n == 0:
            continue
        who = (batch.symbol, batch.stream)
        next_seq = moved[who].next_seq if who in moved else marks.get(who, 0)
        skip = next_seq - batch.first_seq
        if skip >= batch.n:
            repeated += batch.n
            continue
        if skip < 0:
            holes.append(f"{where}: {batch.symbol} stream {batch.stream} goes from seq {next_seq} to {batch.first_seq}")
            missing -= skip
        repeated += max(0, skip)
        fresh = ticks.slice(max(0, skip))
        first_seq = batch.first_seq + max(0, skip)
        parts.append(
            encode_rows(fresh, symbol=batch.symbol, exchange=batch.exchange, stream=batch.stream, first_seq=first_seq)
        )
        rows += fresh.n
        moved[who] = Mark(batch.lineage, batch.first_seq + batch.n)
    return Writing(parts, rows, moved, holes, missing, dead, repeated)
