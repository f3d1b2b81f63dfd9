"""A collector's table as a source, and the binary form of tapelab's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pytest

from tapelab.common.clock import ManualClock
from tapelab.common.errors import SourceError
from tapelab.common.sources import pg_binary
from tapelab.common.sources.ticks_raw import RowBatch, TicksRaw
from tapelab.common.storage.postgres import apply_schema
from tapelab.quant.dtypes import AggressorSource
from tapelab.quant.ticks import Ticks
from tests.common.sources.tapes import read, same, simulated

START = datetime(2026, 11, 4, 12, 0, tzinfo=UTC)
COLUMNS = (
    'symbol text, price float8, volume float8, "timestamp" timestamptz, '
    "buy_agent {agent}, sell_agent {agent}, exchange text, trade_type smallint"
)


@pytest.fixture
async def conn(empty_database: str) -> AsyncIterator[Any]:
    conn = await asyncpg.connect(empty_database)
    yield conn
    await conn.close()


async def _insert(conn: Any, rows: list[tuple[str, float, float, str | int]], *, agent: Any = 3) -> None:
    """Rows of (symbol, seconds, price, trade type)."""
    await conn.executemany(
        "INSERT INTO ticks_raw VALUES ($1, $2, 1, $3, $4, $5, 'B3', $6)",
        [(s, price, START + timedelta(seconds=at), agent, agent, kind) for s, at, price, kind in rows],
    )


async def _all(source: TicksRaw) -> dict[str, Ticks]:
    parts: dict[str, list[Ticks]] = {}
    async for batch in source.batches(ManualClock(), poll_s=None):
        for chunk in batch.chunks:
            parts.setdefault(chunk.symbol, []).append(chunk.ticks)
    return {symbol: Ticks.concatenate(ticks) for symbol, ticks in parts.items()}


ROWS: list[tuple[str, float, float, Any]] = [
    ("WINZ26", 0, 100, 2),
    ("WDOZ26", 0, 50, 3),
    ("WINZ26", 1, 105, 13),
    ("WINZ26", 1, 100, 0),
    ("WINZ26", 1, 95, None),
]


@pytest.mark.parametrize("with_id", [True, False])
@pytest.mark.parametrize("batch_rows", [1, 2, 100])
async def test_a_table_is_read_in_order_whatever_the_batches(
    empty_database: str, conn: Any, with_id: bool, batch_rows: int
) -> None:
    await conn.execute(f"CREATE TABLE ticks_raw ({COLUMNS.format(agent='int')} {', id bigserial' if with_id else ''})")
    await _insert(conn, ROWS)
    got = await _all(TicksRaw(empty_database, batch_rows=batch_rows))
    win = got["WINZ26"]
    assert win.price.tolist() == [100, 105, 100, 95]
    assert win.trade_type.tolist() == [2, 13, 0, 0]
    assert win.aggressor.tolist() == [1, 0, -1, -1]
    assert win.aggressor_source.tolist() == [
        AggressorSource.TRADE_TYPE, 0, AggressorSource.TICK_RULE, AggressorSource.TICK_RULE
    ]  # fmt: skip
    assert win.ts_event_ns[0] == int(START.timestamp()) * 10**9
    assert got["WDOZ26"].aggressor.tolist() == [-1]


@pytest.mark.parametrize("with_id", [True, False])
async def test_new_rows_follow_once_each_even_at_the_same_time(empty_database: str, conn: Any, with_id: bool) -> None:
    await conn.execute(f"CREATE TABLE ticks_raw ({COLUMNS.format(agent='int')} {', id bigserial' if with_id else ''})")
    await _insert(conn, ROWS)
    prices: list[float] = []
    seen: list[RowBatch] = []
    async for batch in TicksRaw(empty_database).batches(ManualClock(), poll_s=0.01):
        seen.append(batch)
        prices += [p for chunk in batch.chunks if chunk.symbol == "WINZ26" for p in chunk.ticks.price.tolist()]
        if len(seen) == 1:
            await _insert(conn, [("WINZ26", 1, 110, 2)])
        if len(seen) == 3:
            await _insert(conn, [("WINZ26", 1, 111, 2), ("WINZ26", 2, 112, 2)])
        if prices[-1] == 112:
            break
    assert prices == [100, 105, 100, 95, 110, 111, 112]
    assert all(batch.caught_up for batch in seen)


async def test_broker_names_and_times_without_a_zone_are_understood(empty_database: str, conn: Any) -> None:
    columns = COLUMNS.format(agent="text").replace("timestamptz", "timestamp")
    await conn.execute(f"CREATE TABLE ticks_raw ({columns})")
    await conn.execute("INSERT INTO ticks_raw VALUES ('WINZ26', 1, 1, '2026-11-04 09:00', '3 - XP', NULL, 'B3', 2)")
    ticks = (await _all(TicksRaw(empty_database, zone="America/Sao_Paulo")))["WINZ26"]
    assert ticks.ts_event_ns[0] == int(START.timestamp()) * 10**9
    assert (ticks.buy_agent[0], ticks.sell_agent[0]) == (3, 0)


async def test_rows_that_cannot_be_used_are_rejects(empty_database: str, conn: Any, tmp_path: Path) -> None:
    await conn.execute(f"CREATE TABLE ticks_raw ({COLUMNS.format(agent='int')}, id serial)")
    await _insert(conn, [("WINZ26", 0, 100, 2), ("WINZ26", 1, -5, 2), ("WINZ26", 2, float("nan"), 2)])
    await conn.execute("INSERT INTO ticks_raw (symbol, price, volume) VALUES ('WINZ26', 1, 1)")
    source = TicksRaw(empty_database, rejects_path=tmp_path / "rejects.csv")
    assert (await _all(source))["WINZ26"].n == 1
    assert source.summary().rejects == 3
    assert "no positive price" in (tmp_path / "rejects.csv").read_text()


async def test_in_tapelabs_own_table_only_a_collectors_rows_are_read(empty_database: str, conn: Any) -> None:
    await apply_schema(conn)
    await _insert_eight(conn)
    await conn.execute("INSERT INTO ticks_raw SELECT * FROM ticks_raw")
    await conn.execute("UPDATE ticks_raw SET stream = 1, seq = 0 WHERE ctid = '(0,1)'")
    assert (await _all(TicksRaw(empty_database)))["WINZ26"].n == 1


async def _insert_eight(conn: Any) -> None:
    await conn.execute(
        'INSERT INTO ticks_raw (symbol, price, volume, "timestamp", exchange, trade_type) '
        "VALUES ('WINZ26', 1, 1, now(), 'B3', 2)"
    )


async def test_a_table_without_the_columns_is_an_error(empty_database: str, conn: Any) -> None:
    with pytest.raises(SourceError, match="no such table"):
        await _all(TicksRaw(empty_database))
    await conn.execute("CREATE TABLE ticks_raw (symbol text, price float8)")
    with pytest.raises(SourceError, match="without volume, timestamp"):
        await _all(TicksRaw(empty_database))


async def test_no_database_is_an_error() -> None:
    with pytest.raises(SourceError, match="cannot connect"):
        await _all(TicksRaw("postgresql://nobody@127.0.0.1:1/none"))


async def test_binary_rows_come_back_bit_for_bit(pool: Any) -> None:
    for symbol, ticks in read(simulated()).items():
        async with pool.acquire() as conn:

            async def source(symbol: str = symbol, ticks: Ticks = ticks) -> AsyncIterator[bytes]:
                yield pg_binary.HEADER
                yield pg_binary.encode_rows(ticks, symbol=symbol, exchange="B3", stream=4, first_seq=10)
                yield pg_binary.TRAILER

            await conn.copy_to_table("ticks_raw", source=source(), columns=pg_binary.COLUMNS, format="binary")
            assert same(await pg_binary.read_span(conn, symbol, 4, 10, 9 + ticks.n), ticks)
            row = await conn.fetchrow("SELECT * FROM ticks_raw WHERE symbol = $1 AND seq = 12", symbol)
            assert (row["exchange"], row["stream"], row["price"]) == ("B3", 4, ticks.price[2])
            micros = int(np.int64(ticks.ts_event_ns[2]) // 1000)
            assert row["timestamp"] == datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
            with pytest.raises(SourceError, match="are missing in ticks_raw"):
                await pg_binary.read_span(conn, symbol, 4, 9, 20)
