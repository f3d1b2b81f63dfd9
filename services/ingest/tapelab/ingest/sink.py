"""The tick sink: ``md.ticks.v1`` into ``ticks_raw``, by binary COPY, each print once.

Rows and the marks that say how far a stream is written move in one transaction, so a sink that was killed at
any moment reads the log again from its beginning and writes only what is missing.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry, Counter, Gauge

from tapelab.common import topics
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.runtime.service import ServiceContext, run_service
from tapelab.common.settings import load
from tapelab.common.sources.pg_binary import COLUMNS, HEADER, TRAILER
from tapelab.common.storage import postgres, streams
from tapelab.ingest.settings import SinkSettings
from tapelab.ingest.sink_rows import Writing, rows_of


class SinkMetrics:
    """What the sink counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"tapelab_sink_{name}", text, registry=registry)

        self.rows = counter("rows", "Prints written.")
        self.repeated = counter("repeated", "Prints read again and not written again.")
        self.missing = counter("missing", "Prints that are missing in the topic's sequences.")
        self.dead = counter("dead", "Records that could not be decoded.")
        self.lag = Gauge("tapelab_sink_lag_records", "Records not yet read.", registry=registry)


async def sink_main(ctx: ServiceContext) -> None:
    """Write until stopped."""
    settings = load(SinkSettings, ctx.environ, service="sink")
    metrics = SinkMetrics(ctx.registry)
    pool = await postgres.create_pool(ctx.settings.postgres_dsn, max_size=2)
    try:
        await postgres.apply_schema(pool)
        marks = await streams.sink_marks(pool)
        async with TopicReader(ctx.settings, [topics.TICKS], start="earliest") as reader:
            ctx.ready()
            looked_ns = 0
            while not ctx.stopping.is_set():
                # A record holds up to 8192 prints; a poll returns whole fetches, so this bound is a soft one.
                records = await reader.poll(settings.poll_ms / 1e3, max(1, settings.batch_rows // 512))
                if records:
                    writing = rows_of(records, marks)
                    await write(pool, writing)
                    marks.update({who: mark.next_seq for who, mark in writing.marks.items()})
                    report(ctx, metrics, writing)
                if ctx.clock.monotonic_ns() - looked_ns > 1_000_000_000:
                    looked_ns = ctx.clock.monotonic_ns()
                    metrics.lag.set(await reader.lag())
    finally:
        await pool.close()


async def write(pool: asyncpg.Pool, writing: Writing) -> None:
    """Rows and marks in one transaction.

    Raises:
        TapelabError: the table is not as the schema has it, or the database is gone.
    """
    if not writing.marks:
        return
    try:
        async with pool.acquire() as conn, conn.transaction():
            await conn.copy_to_table("ticks_raw", source=_stream(writing.parts), columns=COLUMNS, format="binary")
            for (symbol, stream), mark in writing.marks.items():
                await streams.advance_mark(conn, symbol, stream, mark.lineage, mark.next_seq)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise TapelabError(
            "the tick sink cannot write ticks_raw",
            expected="tapelab's own table in a database that answers",
            actual=f"{type(error).__name__}: {error}",
            remedy="check the database; the sink goes on where it was when it is started again",
        ) from error


def report(ctx: ServiceContext, metrics: SinkMetrics, writing: Writing) -> None:
    """Count what was written, and log what was wrong."""
    metrics.rows.inc(writing.rows)
    metrics.repeated.inc(writing.repeated)
    metrics.missing.inc(writing.missing)
    metrics.dead.inc(len(writing.dead))
    for hole in writing.holes:
        ctx.log.error("prints are missing", extra={"fields": {"hole": hole}})
    for dead in writing.dead:
        ctx.log.warning("record skipped", extra={"fields": {"reason": dead}})


async def _stream(parts: Sequence[bytes]) -> AsyncIterator[Any]:
    yield HEADER
    for part in parts:
        yield part
    yield TRAILER


def main() -> None:
    """Run the sink."""
    run_service("sink", os.environ, sink_main)


if __name__ == "__main__":
    main()
