"""The tick sink writes each print once, whatever it reads again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tapelab.common import topics
from tapelab.common.clock import ManualClock
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.stage import Record
from tapelab.common.sources.pg_binary import read_span
from tapelab.common.storage.streams import sink_marks
from tapelab.ingest.replay import Replay
from tapelab.ingest.sink import write
from tapelab.ingest.sink_rows import rows_of
from tests.common.sources.tapes import read, same, simulated
from tests.services.ingest.wire import Board, Wire, lanes


@pytest.fixture
async def records() -> list[Record]:
    """The topic of a short tape."""
    clock = ManualClock()
    wire = Wire(clock)
    await Replay(
        simulated(days=1),
        lanes(wire, clock, "of the prints"),
        Board(),  # type: ignore[arg-type]
        clock,
        asyncio.Event(),
        cut_ns=None,
        speed=None,
    ).run()
    return wire.records


async def _sink(pool: Any, records: list[Record], size: int) -> None:
    """Read the log from its beginning in portions, as a sink that has just started."""
    marks = await sink_marks(pool)
    for start in range(0, len(records), size):
        writing = rows_of(records[start : start + size], marks)
        await write(pool, writing)
        marks.update({who: mark.next_seq for who, mark in writing.marks.items()})


async def test_a_sink_that_is_killed_again_and_again_writes_each_print_once(pool: Any, records: list[Record]) -> None:
    for read_so_far in (1, 7, 8, len(records)):
        await _sink(pool, records[:read_so_far], 3)
    for symbol, ticks in read(simulated(days=1)).items():
        (stream,) = await pool.fetchrow("SELECT DISTINCT stream FROM ticks_raw WHERE symbol = $1", symbol)
        assert await pool.fetchval("SELECT count(*) FROM ticks_raw WHERE symbol = $1", symbol) == ticks.n
        async with pool.acquire() as conn:
            assert same(await read_span(conn, symbol, stream, 0, ticks.n - 1), ticks)
        assert (await sink_marks(pool))[symbol, stream] == ticks.n


async def test_a_transaction_that_fails_leaves_neither_rows_nor_marks(pool: Any, records: list[Record]) -> None:
    writing = rows_of(records[:4], {})
    broken = writing._replace(parts=[*writing.parts, b"\x00\x01"])
    with pytest.raises(TapelabError, match="the tick sink cannot write ticks_raw"):
        await write(pool, broken)
    assert await pool.fetchval("SELECT count(*) FROM ticks_raw") == 0
    assert await sink_marks(pool) == {}
    await write(pool, writing)
    assert await pool.fetchval("SELECT count(*) FROM ticks_raw") == writing.rows


def test_overlapping_records_are_cut(records: list[Record]) -> None:
    writing = rows_of([records[0], records[0], *records[:3]], {})
    again = rows_of(records[:3], {})
    assert (writing.rows, writing.marks) == (again.rows, again.marks)
    assert writing.repeated > 0
    assert again.repeated == 0


def test_session_ends_write_nothing(records: list[Record]) -> None:
    assert rows_of(records[-1:], {}).marks == {}


def test_a_hole_is_told_and_the_rest_is_written(records: list[Record]) -> None:
    win = [record for record in records if record.key == b"WINZ26"]
    writing = rows_of([win[0], win[2]], {})
    assert len(writing.holes) == 1
    assert "WINZ26 stream" in writing.holes[0]
    whole = rows_of(win[:3], {})
    assert writing.rows + writing.missing == whole.rows
    assert writing.marks == whole.marks


def test_a_poison_record_is_skipped_and_told(records: list[Record]) -> None:
    poison = Record(topics.TICKS, 2, 77, b"WINZ26", b"not a batch")
    writing = rows_of([records[0], poison, records[1]], {})
    assert writing.rows == rows_of(records[:2], {}).rows
    assert writing.dead[0].startswith("md.ticks.v1[2]@77: record on md.ticks.v1 cannot be decoded")
