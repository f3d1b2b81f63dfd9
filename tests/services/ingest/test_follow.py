"""A table that fills, followed live."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from tapelab.common.clock import ManualClock
from tapelab.common.sources.ticks_raw import TicksRaw
from tapelab.ingest.follow import Follow
from tests.services.ingest.test_sessions import at
from tests.services.ingest.wire import Board, Wire, lanes

OPEN = at(4, "10:00:00")


async def _insert(conn: Any, ts_ns: int, price: float) -> None:
    when = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=ts_ns // 1000)
    await conn.execute("INSERT INTO ticks_raw VALUES ('WINZ26', $1, 1, $2, 3, 8, 'B3', 2)", price, when)


async def _until(condition: Any) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited 10 s in vain")


async def test_old_rows_then_the_release_then_new_rows_then_the_session_end(empty_database: str) -> None:
    conn = await asyncpg.connect(empty_database)
    await conn.execute(
        'CREATE TABLE ticks_raw (symbol text, price float8, volume float8, "timestamp" timestamptz, '
        "buy_agent int, sell_agent int, exchange text, trade_type smallint, id bigserial)"
    )
    await _insert(conn, OPEN, 1)
    await _insert(conn, OPEN + 1_000, 2)
    clock = ManualClock(OPEN + 10**9)
    wire, board, stopping = Wire(clock), Board(release_after=2), asyncio.Event()
    play = Follow(
        TicksRaw(empty_database),
        lanes(wire, clock),
        board,
        clock,
        stopping,
        poll_s=0.0,
        grace_s=30.0,  # type: ignore[arg-type]
    )
    await play.announce()
    running = asyncio.create_task(play.run())
    await _until(lambda: board.states[-1] == "following")
    assert board.states == ["playing_first", "waiting", "following"]
    assert board.statuses[-1].symbols["WINZ26"]["next_seq"] == 2
    assert board.statuses[-1].cut_ts_ns == OPEN + 1_001
    await _insert(conn, OPEN + 2_000, 3)
    await _until(lambda: sum(batch.n for batch in wire.batches()) == 3)
    clock.advance((at(4, "18:25:29") - clock.now_ns()) / 1e9)
    await asyncio.sleep(0.1)
    assert all(batch.n for batch in wire.batches())
    clock.advance(2)
    await _until(lambda: wire.batches()[-1].n == 0)
    assert wire.batches()[-1].session_end_ns == at(4, "18:25:00")
    assert wire.ticks("WINZ26").price.tolist() == [1, 2, 3]
    stopping.set()
    await running
    await conn.close()


async def test_old_prints_do_not_end_their_session_by_the_wall_clock(empty_database: str) -> None:
    conn = await asyncpg.connect(empty_database)
    await conn.execute(
        'CREATE TABLE ticks_raw (symbol text, price float8, volume float8, "timestamp" timestamptz, '
        "buy_agent int, sell_agent int, exchange text, trade_type smallint)"
    )
    await _insert(conn, OPEN, 1)
    clock = ManualClock(at(20, "10:00:00"))
    wire, board, stopping = Wire(clock), Board(), asyncio.Event()
    play = Follow(
        TicksRaw(empty_database),
        lanes(wire, clock),
        board,
        clock,
        stopping,
        poll_s=0.0,
        grace_s=1.0,  # type: ignore[arg-type]
    )
    await play.announce()
    running = asyncio.create_task(play.run())
    await _until(lambda: board.states[-1] == "following")
    clock.advance(3600)
    await asyncio.sleep(0.05)
    await _insert(conn, OPEN + 10**9, 2)
    await _until(lambda: sum(batch.n for batch in wire.batches()) == 2)
    assert [batch.session_end_ns for batch in wire.batches()] == [0, 0]
    stopping.set()
    await running
    await conn.close()
