"""The tick sink: ``md.ticks.v1`` into ``ticks_raw``, by binary COPY, each print once.

Rows and the marks that say how far a stream is written move in one transaction, so a sink that was killed at
any moment reads the log again from its beginning and writes only what is missing. While the database is away it
holds what it has read and reads no further; then it asks for the marks again, because the last transaction may
have ended either way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry, Counter, Gauge

from tapelab.common import topics
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.outage import Outage, Stopped
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.runtime.service import ServiceContext, run_service
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import load
from tapelab.common.sources.pg_binary import COLUMNS, HEADER, TRAILER
from tapelab.common.storage import streams
from tapelab.common.storage.postgres import (
    SILENT_S,
    STATEMENT_S,
    apply_schema,
    close_pool,
    create_pool,
    is_away,
)
from tapelab.ingest.settings import SinkSettings
from tapelab.ingest.sink_rows import Who, Writing, rows_of


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
    with contextlib.suppress(Stopped):
        await _sink(ctx)


async def _sink(ctx: ServiceContext) -> None:
    settings = load(SinkSettings, ctx.environ, service="sink")
    metrics = SinkMetrics(ctx.registry)
    database = Outage("postgres", ctx.clock, ctx.log, ctx, silent_s=SILENT_S)
    pool = await database.through(lambda: create_pool(ctx.settings.postgres_dsn, max_size=2), is_away)
    try:
        await database.through(lambda: apply_schema(pool), is_away)
        table = Table(pool, database, await database.through(lambda: streams.sink_marks(pool), is_away))
        broker = Outage("broker", ctx.clock, ctx.log, ctx)
        async with TopicReader(ctx.settings, [topics.TICKS], start="earliest", outage=broker) as reader:
            ctx.ready()
            looked_ns = ctx.clock.monotonic_ns()
            while not ctx.stopping.is_set():
                # A record holds up to 8192 prints; a poll returns whole fetches, so this bound is a soft one.
                records = await reader.poll(settings.poll_ms / 1e3, max(1, settings.batch_rows // 512))
                if records:
                    report(ctx, metrics, await table.take(records))
                if ctx.clock.monotonic_ns() - looked_ns > 1_000_000_000:
                    looked_ns = ctx.clock.monotonic_ns()
                    metrics.lag.set(reader.behind)
    finally:
        await close_pool(pool)


class Table:
    """``ticks_raw`` and how far each stream of it is written.

    Args:
        marks: as the database has them.
    """

    def __init__(self, pool: asyncpg.Pool, database: Outage, marks: dict[Who, int]) -> None:
        self._pool = pool
        self._database = database
        self._marks = marks

    async def take(self, records: Sequence[Record]) -> Writing:
        """Write what is missing of some records, however long the database is away; what was written.

        Raises:
            TapelabError: the table is not as the schema has it.
        """
        first = True

        async def attempt() -> Writing:
            nonlocal first
            if not first:  # the transaction that failed may have been committed
                self._marks = await streams.sink_marks(self._pool)
            first = False
            # Some ten milliseconds a batch: what polls the broker must not wait for it.
            writing = await asyncio.to_thread(rows_of, records, self._marks)
            await write(self._pool, writing)
            return writing

        writing = await self._database.through(attempt, is_away)
        self._marks.update({who: mark.next_seq for who, mark in writing.marks.items()})
        return writing


async def write(pool: asyncpg.Pool, writing: Writing) -> None:
    """Rows and marks in one transaction.

    Raises:
        TapelabError: the table is not as the schema has it.
    """
    if not writing.marks:
        return
    try:
        async with pool.acquire() as conn, conn.transaction():
            try:
                # A COPY waits for room to send without looking at its own limit, so it needs one from outside.
                async with asyncio.timeout(STATEMENT_S):
                    await conn.copy_to_table(
                        "ticks_raw",
                        source=_stream(writing.parts),
                        columns=COLUMNS,
                        format="binary",
                        timeout=2 * STATEMENT_S,
                    )
                for (symbol, stream), mark in writing.marks.items():
                    await streams.advance_mark(conn, symbol, stream, mark.lineage, mark.next_seq)
            except TimeoutError:
                conn.terminate()  # a rollback would wait as long again for a database that hangs
                raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if is_away(error):
            raise
        raise TapelabError(
            "the tick sink cannot write ticks_raw",
            expected="tapelab's own table as the schema has it",
            actual=f"{type(error).__name__}: {error}",
            remedy="repair the table; the sink goes on where it was when it is started again",
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
