"""Halts: the history in PostgreSQL is the truth, Redis is what inference reads."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest

from tapelab.common.errors import ConfigError, RegistryError
from tapelab.common.storage.halts import Halt, Halts, halt_of, halts_key, read_halts
from tapelab.common.storage.postgres import DatabaseAway, create_pool
from tapelab.common.storage.redis import connect

NEWS = Halt(reason="news", by="me", set_ns=1)
NOWHERE = "postgresql://u@127.0.0.1:1/x"


@pytest.fixture
async def gone():
    """A database that does not answer."""
    pool = await create_pool(NOWHERE, lazy=True)
    yield pool
    await pool.close()


async def test_a_halt_holds_until_it_is_ended_and_both_stay_in_the_history(pool, redis_client):
    halts = Halts(pool, redis_client, "ns")
    assert (await halts.halt("WINZ26", NEWS)).warning == ""
    assert (await read_halts(redis_client, "ns"))["WINZ26"].reason == "news"
    assert await read_halts(redis_client) == {}
    assert (await halts.resume("WINZ26", Halt(reason="over", by="you", set_ns=2)))[0]
    assert not (await halts.resume("WINZ26", NEWS))[0]
    assert await halts.current() == {}
    rows = await pool.fetch("SELECT action, reason, by, set_ns FROM halts ORDER BY number")
    assert [tuple(row) for row in rows] == [("halt", "news", "me", 1), ("resume", "over", "you", 2)]
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await pool.execute("DELETE FROM halts")


async def test_a_halt_of_all_holds_for_every_symbol_and_the_symbols_own_comes_first(pool, redis_client):
    halts = Halts(pool, redis_client)
    await halts.halt("*", Halt(reason="all", by="me", set_ns=2))
    await halts.halt("WINZ26", NEWS)
    found = await halts.current()
    assert [halt_of(found, symbol).reason for symbol in ("WINZ26", "WDOZ26")] == ["news", "all"]


async def test_a_halt_that_cannot_be_read_is_never_overlooked(pool, redis_client):
    halts = Halts(pool, redis_client)
    await redis_client.hset(halts_key(), "WINZ26", b"halted")
    with pytest.raises(RegistryError, match="WINZ26"):
        await read_halts(redis_client)
    assert await halts.sync() == []
    assert await redis_client.hget(halts_key(), "WINZ26") == b"halted"  # it may be a halt, so it stays
    await halts.halt("WINZ26", NEWS)
    await redis_client.hset(halts_key(), "WINZ26", b"halted")
    await halts.sync()
    assert (await read_halts(redis_client))["WINZ26"].reason == "news"


async def test_a_lost_redis_gets_its_halts_back_and_those_that_were_ended_stay_ended(pool, redis_client):
    halts = Halts(pool, redis_client)
    for symbol in ("WINZ26", "WDOZ26"):
        await halts.halt(symbol, NEWS)
    await halts.resume("WDOZ26", NEWS)
    await redis_client.flushall()
    assert await halts.sync() == ["halt of WINZ26 written to Redis again"]
    assert list(await read_halts(redis_client)) == ["WINZ26"]
    assert await halts.sync() == []


async def test_an_emergency_stop_needs_no_database_and_enters_the_history_later(pool, redis_client, gone):
    written = await Halts(gone, redis_client).halt("WINZ26", NEWS)
    assert "PostgreSQL does not answer" in written.warning
    assert list(await read_halts(redis_client)) == ["WINZ26"]
    halts = Halts(pool, redis_client)
    assert await halts.sync() == ["halt of WINZ26 entered into the history"]
    assert await halts.sync() == []
    assert await pool.fetchval("SELECT reason FROM halts") == "news"
    await redis_client.flushall()
    await halts.sync()
    assert list(await read_halts(redis_client)) == ["WINZ26"]


async def test_a_resume_without_the_database_is_refused_because_the_halt_would_come_back(redis_client, gone):
    halts = Halts(gone, redis_client)
    await halts.halt("WINZ26", NEWS)
    with pytest.raises(DatabaseAway, match="bring the database back first"):
        await halts.resume("WINZ26", NEWS)
    assert list(await read_halts(redis_client)) == ["WINZ26"]


async def test_without_redis_a_halt_is_recorded_and_says_when_it_takes_effect(pool, redis_client, tmp_path):
    away = connect(f"unix://{tmp_path}/none")
    try:
        written = await Halts(pool, away).halt("WINZ26", NEWS)
        assert "takes effect when Redis is back" in written.warning
        assert list(await Halts(pool, away).current()) == ["WINZ26"]
    finally:
        await away.aclose()
    assert await Halts(pool, redis_client).sync() == ["halt of WINZ26 written to Redis again"]


@pytest.fixture
async def silent():
    """A database that takes connections and says nothing, as one that is frozen."""
    writers = []

    async def keep(_reader, writer):
        writers.append(writer)

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    pool = await create_pool(f"postgresql://u@127.0.0.1:{server.sockets[0].getsockname()[1]}/x", lazy=True)
    yield pool
    pool.terminate()
    for writer in writers:
        writer.close()
    server.close()


async def test_a_halt_waits_neither_for_a_frozen_redis_nor_for_a_sync_that_does(pool, redis_client, redis_server):
    halts = Halts(pool, redis_client)
    assert await halts.sync() == []  # connected
    with redis_server.frozen():
        syncing = asyncio.create_task(halts.sync())
        await asyncio.sleep(0.1)
        before = time.monotonic()
        written = await halts.halt("WINZ26", NEWS)
        assert time.monotonic() - before < 4
        assert "it is recorded, but Redis does not answer" in written.warning
        with pytest.raises(Exception, match=r"^$|Timeout") as caught:
            await syncing
        assert "Timeout" in type(caught.value).__name__
        before = time.monotonic()
        assert (await halts.resume("WDOZ26", NEWS))[1].not_current is not None
        assert time.monotonic() - before < 4
    # What the frozen Redis was sent it may still carry out; either way the stores agree afterwards.
    await halts.sync()
    assert list(await read_halts(redis_client)) == ["WINZ26"]


async def test_a_halt_does_not_wait_for_the_lock_of_those_that_end_halts(pool, redis_client):
    async with pool.acquire() as other:
        await other.execute("SELECT pg_advisory_lock($1)", 7_409_003)
        assert (await Halts(pool, redis_client).halt("WINZ26", NEWS)).warning == ""
        await other.execute("SELECT pg_advisory_unlock($1)", 7_409_003)


async def test_a_halt_waits_a_short_while_for_a_frozen_database(silent, redis_client, redis_server):
    before = time.monotonic()
    written = await Halts(silent, redis_client).halt("WINZ26", NEWS)
    assert "PostgreSQL does not answer (TimeoutError: no answer in time)" in written.warning
    assert list(await read_halts(redis_client)) == ["WINZ26"]
    with redis_server.frozen(), pytest.raises(DatabaseAway, match="WINZ26 is NOT halted"):
        await Halts(silent, redis_client).halt("WINZ26", NEWS)
    assert time.monotonic() - before < 8


async def test_a_halt_that_comes_while_another_is_ended_or_synced_stays(pool, redis_client, monkeypatch):
    halts, meanwhile = Halts(pool, redis_client), Halts(pool, redis_client)
    await halts.halt("WINZ26", NEWS)
    exchange = halts._exchange

    async def late(symbol, was, now):
        await meanwhile.halt("WINZ26", Halt(reason="again", by="me", set_ns=2))
        return await exchange(symbol, was, now)

    monkeypatch.setattr(halts, "_exchange", late)
    await halts.resume("WINZ26", NEWS)
    assert (await read_halts(redis_client))["WINZ26"].reason == "again"
    assert await meanwhile.sync() == []
    await pool.execute("INSERT INTO halts (symbol, action, reason, by, set_ns) VALUES ('WINZ26', 'resume', '', '', 3)")
    assert await halts.sync() == []  # would have removed it
    assert (await read_halts(redis_client))["WINZ26"].reason == "again"


async def test_a_symbol_resumed_while_redis_was_away_is_taken_out_of_it(pool, redis_client, tmp_path):
    halts = Halts(pool, redis_client)
    await halts.halt("WINZ26", NEWS)
    away = connect(f"unix://{tmp_path}/none")
    try:
        ended, written = await Halts(pool, away).resume("WINZ26", NEWS)
    finally:
        await away.aclose()
    assert ended
    assert written.not_current is not None
    assert await halts.sync() == ["halt of WINZ26, which had been ended, removed from Redis"]
    assert await read_halts(redis_client) == {}


async def test_a_redis_that_is_newer_than_the_database_keeps_its_halts(pool, redis_client):
    halts = Halts(pool, redis_client)
    await halts.halt("WINZ26", NEWS)
    await pool.execute("TRUNCATE halts RESTART IDENTITY")  # as after restoring an old backup
    assert await halts.sync() == ["halt of WINZ26 entered into the history"]
    assert list(await read_halts(redis_client)) == ["WINZ26"]


async def test_a_halt_that_no_store_takes_says_that_nothing_is_halted(gone, tmp_path):
    away = connect(f"unix://{tmp_path}/none")
    try:
        with pytest.raises(DatabaseAway, match="WINZ26 is NOT halted"):
            await Halts(gone, away).halt("WINZ26", NEWS)
    finally:
        await away.aclose()


def test_an_address_with_another_scheme_is_refused():
    with pytest.raises(ConfigError, match="TAPELAB_REDIS_URL"):
        connect("http://127.0.0.1")
