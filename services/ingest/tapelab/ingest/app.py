"""The ingest service: opens the source, plays it, stays until it is stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tapelab.common.errors import ConfigError
from tapelab.common.instruments import load_instruments
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.settings import load
from tapelab.common.sources.detect import open_tape
from tapelab.common.sources.protocol import Tape
from tapelab.common.sources.ticks_raw import TicksRaw
from tapelab.common.storage import postgres, redis, streams
from tapelab.ingest.cut import find_cut
from tapelab.ingest.follow import Follow
from tapelab.ingest.lanes import Lanes
from tapelab.ingest.pace import parse_speed
from tapelab.ingest.replay import Replay
from tapelab.ingest.settings import IngestSettings
from tapelab.ingest.status import Bulletin


async def ingest_main(ctx: ServiceContext) -> None:
    """Play the configured source once, then wait for the stop."""
    settings = load(IngestSettings, ctx.environ, service="ingest")
    instruments = load_instruments(ctx.settings.config_dir)
    speed = parse_speed(settings.speed)
    source: Tape | TicksRaw = _table(ctx, settings) if settings.source == "ticks_raw" else tape_of(settings)
    cut_ns: int | None = None
    if not isinstance(source, TicksRaw):
        calendars = [instruments.calendar(symbol) for symbol in source.symbols()]
        if settings.cut != "none":
            first_ns, last_ns = await asyncio.to_thread(source.time_range)
            cut_ns = find_cut(settings.cut, first_ns, last_ns, calendars)
    pool = await postgres.create_pool(ctx.settings.postgres_dsn, max_size=2)
    client = redis.connect(ctx.settings.redis_url)
    try:
        await postgres.apply_schema(pool)

        async def allocate(symbol: str) -> int:
            return await streams.allocate_stream(pool, symbol, source.name, source.lineage)

        async with Publisher(ctx.settings) as publisher:
            lanes = Lanes(
                publisher,
                ctx.clock,
                instruments,
                allocate,
                source.lineage,
                ctx.registry,
                partitions=ctx.settings.partitions,
            )
            bulletin = Bulletin(client, ctx.settings.namespace, str(ctx.clock.now_ns()), ctx.log)
            play: Replay | Follow
            if isinstance(source, TicksRaw):
                poll_s = settings.poll_ms / 1e3
                play = Follow(source, lanes, bulletin, ctx.clock, ctx.stopping, poll_s=poll_s, grace_s=settings.grace_s)
            else:
                for symbol, exchange in source.symbols().items():
                    await lanes.open(symbol, exchange)
                play = Replay(
                    source,
                    lanes,
                    bulletin,
                    ctx.clock,
                    ctx.stopping,
                    cut_ns=cut_ns,
                    speed=speed,
                    pace_ns=settings.pace_ms * 1_000_000,
                    max_gap_ns=int(settings.max_gap_s * 1e9),
                )
            await play.announce()
            ctx.ready(detail=f"playing {source.name}")
            ctx.log.info("playing", extra={"fields": {"source": source.name, "cut_ts_ns": cut_ns, "run": bulletin.run}})
            await play.run()
            await publisher.flush()
            summary = source.summary()
            ctx.ready(detail=f"{source.name} is over: {summary.rows} prints, {summary.rejects} malformed rows")
            ctx.log.info(
                "played",
                extra={
                    "fields": {
                        "rows": summary.rows,
                        "rejects": summary.rejects,
                        "first_reject": summary.first_reject,
                        "rejects_path": str(summary.rejects_path or ""),
                        "symbols": dict(summary.symbols),
                    }
                },
            )
            await ctx.stopping.wait()
    finally:
        await client.aclose()
        await pool.close()


def tape_of(settings: IngestSettings) -> Tape:
    """The tape that the settings name.

    Raises:
        ConfigError: the source ``file`` has no path.
        SourceError: the tape cannot be opened.
    """
    only = frozenset(s.strip() for s in settings.symbols.split(",") if s.strip()) or None
    if settings.source == "simulator":
        options = [f"seed={settings.seed}", settings.simulator]
        if only is not None:
            options.append(f"symbols={'+'.join(sorted(only))}")
        return open_tape(",".join(filter(None, options)), format="simulator")
    if not settings.path:
        raise ConfigError(
            "TAPELAB_INGEST_PATH is not set",
            expected="the path of a file or folder, as TAPELAB_INGEST_SOURCE is file",
            actual="nothing",
            remedy="set it",
        )
    return open_tape(
        settings.path,
        format=settings.format or None,
        rejects_path=settings.rejects or None,
        symbol=settings.symbol or None,
        only=only,
    )


def _table(ctx: ServiceContext, settings: IngestSettings) -> TicksRaw:
    return TicksRaw(
        settings.dsn or ctx.settings.postgres_dsn,
        table=settings.table,
        zone=settings.timezone,
        rejects_path=Path(settings.rejects) if settings.rejects else None,
    )
