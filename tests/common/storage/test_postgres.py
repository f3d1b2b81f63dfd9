"""The pool and the schema."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from tapelab.common.errors import TapelabError
from tapelab.common.storage import streams
from tapelab.common.storage.postgres import apply_schema, create_pool, without_password


async def test_the_schema_can_be_applied_again_and_by_many_at_once(empty_database):
    pool = await create_pool(empty_database)
    await asyncio.gather(*(apply_schema(pool) for _ in range(4)))
    await apply_schema(pool)
    columns = await pool.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'ticks_raw' ORDER BY ordinal_position"
    )
    await pool.close()
    assert [row["column_name"] for row in columns] == [
        "symbol", "price", "volume", "timestamp", "buy_agent", "sell_agent", "exchange", "trade_type",
        "stream", "seq", "ts_event_ns", "aggressor", "aggressor_source", "flags", "trade_id",
    ]  # fmt: skip


async def test_a_collectors_table_of_eight_columns_is_completed_and_keeps_its_rows(empty_database):
    pool = await create_pool(empty_database)
    await pool.execute(
        'CREATE TABLE ticks_raw (symbol text, price float8, volume float8, "timestamp" timestamptz, '
        "buy_agent int, sell_agent int, exchange text, trade_type smallint)"
    )
    await pool.execute(
        "INSERT INTO ticks_raw VALUES ('WINZ26', 1, 2, $1, 3, 4, 'B3', 2)", datetime(2026, 1, 5, tzinfo=UTC)
    )
    await apply_schema(pool)
    row = await pool.fetchrow("SELECT * FROM ticks_raw")
    await pool.close()
    assert (row["symbol"], row["seq"], row["trade_id"]) == ("WINZ26", None, None)


async def test_json_columns_take_and_give_python_values(pool):
    value = {"a": [1, 2.5, None], "b": {"c": 9_007_199_254_740_993}, "nan": float("nan")}
    got = await pool.fetchval("SELECT $1::jsonb", value)
    assert got == {**value, "nan": None}


async def test_a_database_that_does_not_answer_is_one_clear_error_without_the_password():
    with pytest.raises(TapelabError, match="no PostgreSQL at") as caught:
        await create_pool("postgresql://u:secret@127.0.0.1:18449/x")
    assert "secret" not in str(caught.value)
    assert "TAPELAB_POSTGRES_DSN" in caught.value.remedy


def test_an_address_without_password_stays_as_it_is():
    assert (
        without_password("postgresql://postgres:@/postgres?host=/tmp/x")
        == "postgresql://postgres:@/postgres?host=/tmp/x"
    )


async def test_streams_only_grow_and_the_latest_is_known_per_symbol(pool):
    first = await streams.allocate_stream(pool, "WINZ26", "simulator", "l1")
    other = await streams.allocate_stream(pool, "WDOZ26", "simulator", "l1")
    second = await streams.allocate_stream(pool, "WINZ26", "simulator", "l1")
    assert first < other < second
    assert await streams.latest_stream(pool, "WINZ26") == second
    assert await streams.latest_stream(pool, "XXX") is None


async def test_only_the_newest_replays_of_a_symbol_stay_and_a_collectors_prints_always_do(pool):
    async def prints(symbol, stream):
        await pool.execute(
            'INSERT INTO ticks_raw (symbol, price, volume, "timestamp", stream, seq) VALUES ($1, 1, 1, now(), $2, 0)',
            symbol,
            stream,
        )

    played = [await streams.allocate_stream(pool, "WINZ26", "simulator seed=7", "l") for _ in range(3)]
    other = await streams.allocate_stream(pool, "WDOZ26", "simulator seed=7", "l")
    followed = await streams.allocate_stream(pool, "PETR4", "table ticks", "l")
    for _ in range(3):
        await streams.allocate_stream(pool, "PETR4", "table ticks", "l")
    for symbol, stream in [*(("WINZ26", s) for s in played), ("WDOZ26", other), ("PETR4", followed), ("WINZ26", None)]:
        await prints(symbol, stream)
    assert await streams.forget_replays(pool, 1) == played[:2]
    left = await pool.fetch("SELECT stream FROM ticks_raw ORDER BY stream NULLS LAST")
    assert [row["stream"] for row in left] == [played[2], other, followed, None]
    assert await streams.forget_replays(pool, 1) == []


async def test_a_sink_mark_never_goes_back(pool):
    await streams.advance_mark(pool, "WINZ26", 1, "l", 100)
    await streams.advance_mark(pool, "WINZ26", 1, "l", 60)
    await streams.advance_mark(pool, "WINZ26", 2, "l", 5)
    assert await streams.sink_marks(pool) == {("WINZ26", 1): 100, ("WINZ26", 2): 5}
