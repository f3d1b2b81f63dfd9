"""Streams: epochs of a source, and how far the tick sink has written each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg


async def allocate_stream(pool: asyncpg.Pool, symbol: str, source: str, lineage: str) -> int:
    """A new stream number, higher than every one before it."""
    row = await pool.fetchrow(
        "INSERT INTO streams (symbol, source, lineage) VALUES ($1, $2, $3) RETURNING stream", symbol, source, lineage
    )
    return int(row["stream"])


async def latest_stream(pool: asyncpg.Pool, symbol: str) -> int | None:
    """The newest stream of a symbol, ``None`` where it never had one."""
    value = await pool.fetchval("SELECT max(stream) FROM streams WHERE symbol = $1", symbol)
    return None if value is None else int(value)


async def seen_symbols(pool: asyncpg.Pool) -> list[str]:
    """Every symbol that ever had a stream, sorted."""
    rows = await pool.fetch("SELECT DISTINCT symbol FROM streams")
    return sorted(row["symbol"] for row in rows)


async def is_allocated(pool: asyncpg.Pool, symbol: str, stream: int) -> bool:
    """Whether a symbol ever had a stream of that number."""
    return bool(
        await pool.fetchval("SELECT EXISTS (SELECT FROM streams WHERE symbol = $1 AND stream = $2)", symbol, stream)
    )


async def tick_lineages(pool: asyncpg.Pool, streams: Sequence[int]) -> dict[int, str]:
    """The lineage of the prints of some streams, by stream."""
    rows = await pool.fetch("SELECT stream, lineage FROM streams WHERE stream = ANY($1)", list(streams))
    return {int(row["stream"]): row["lineage"] for row in rows}


async def sink_marks(pool: asyncpg.Pool) -> dict[tuple[str, int], int]:
    """Per (symbol, stream): the first sequence number that is not in ``ticks_raw`` yet."""
    rows = await pool.fetch("SELECT symbol, stream, next_seq FROM tick_sink_marks")
    return {(row["symbol"], row["stream"]): row["next_seq"] for row in rows}


async def advance_mark(conn: Any, symbol: str, stream: int, lineage: str, next_seq: int) -> None:
    """Move the tick sink's mark; call it in the transaction that writes the prints. It never goes back."""
    await conn.execute(
        "INSERT INTO tick_sink_marks (symbol, stream, lineage, next_seq) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (symbol, stream) DO UPDATE SET lineage = excluded.lineage, "
        "next_seq = greatest(tick_sink_marks.next_seq, excluded.next_seq)",
        symbol,
        stream,
        lineage,
        next_seq,
    )


async def forget_replays(pool: asyncpg.Pool, keep: int) -> list[int]:
    """Delete the prints of replayed tapes from ``ticks_raw``, but for the newest ``keep`` of each symbol.

    A replay can be played again, so its prints are a copy. What a collector wrote, and what was followed in a
    collector's table, is never touched. Streams and marks stay, so a span of a forgotten stream is known to be
    missing.

    Returns:
        the forgotten streams, oldest first; empty where there was nothing to forget.
    """
    rows = await pool.fetch(
        "WITH replays AS (SELECT symbol, stream, row_number() OVER (PARTITION BY symbol ORDER BY stream DESC) AS age "
        "FROM streams WHERE source NOT LIKE 'table %'), "
        "gone AS (DELETE FROM ticks_raw AS t USING replays AS r "
        "WHERE r.age > $1 AND t.symbol = r.symbol AND t.stream = r.stream RETURNING t.stream) "
        "SELECT DISTINCT stream FROM gone ORDER BY stream",
        keep,
    )
    return [int(row["stream"]) for row in rows]
