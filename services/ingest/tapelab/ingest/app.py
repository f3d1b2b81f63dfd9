"""The ingest service: opens the source, plays it, stays until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import asyncpg

from tapelab.common.errors import ConfigError
from tapelab.common.instruments import Instruments, load_instruments
from tapelab.common.runtime.lost_log import NewLog
from tapelab.common.runtime.outage import Outage, Stopped
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.settings import load
from tapelab.common.sources.detect import open_tape
from tapelab.common.sources.protocol import Tape
from tapelab.common.sources.ticks_raw import TicksRaw
from tapelab.common.storage import redis, streams
from tapelab.common.storage.postgres import SILENT_S, apply_schema, close_pool, create_pool, is_away
from tapelab.ingest.cut import find_cut
from tapelab.ingest.follow import Follow
from tapelab.ingest.lanes import IngestMetrics, Lanes
from tapelab.ingest.pace import parse_speed
from tapelab.ingest.replay import Replay
from tapelab.ingest.settings import IngestSettings
from tapelab.ingest.status import Bulletin

#: How soon a tape that has ended notices that its log was lost.
_LOOK_S: Final = 0.5
#: How long publishing may go on after the request to stop: what is under way is acknowledged within that.
STOP_WORK_S: Final = 4.0


async def ingest_main(ctx: ServiceContext) -> None:
    """Play the configured source once, then wait for the stop.

    Where the broker's log turns out to be another one, the source is begun again from its start.
    """
    with contextlib.suppress(Stopped):
        await _ingest(ctx)


async def _ingest(ctx: ServiceContext) -> None:
    settings = load(IngestSettings, ctx.environ, service="ingest")
    instruments = load_instruments(ctx.settings.config_dir)
    parse_speed(settings.speed)
    source = await asyncio.to_thread(_source, ctx, settings)
    cut_ns = await asyncio.to_thread(_cut, source, settings, instruments)
    database = Outage("postgres", ctx.clock, ctx.log, ctx, silent_s=SILENT_S)
    client = redis.connect(ctx.settings.redis_url)
    try:
        pool = await database.through(lambda: create_pool(ctx.settings.postgres_dsn, max_size=2), is_away)
        try:
            await database.through(lambda: apply_schema(pool), is_away)
            bulletin = Bulletin(client, ctx.settings.namespace, str(ctx.clock.now_ns()), ctx.log)
            resume_ns = await bulletin.take_up(source.name, source.lineage, cut_ns)
            metrics = IngestMetrics(ctx.registry)
            while True:
                run = Run(ctx, settings, instruments, bulletin, pool, database, cut_ns, metrics)
                try:
                    await until_stopped(ctx, run.play(source, resume_ns))
                    return
                except NewLog as error:
                    ctx.log.warning(str(error))
                    bulletin.begin_again("the broker's log is new")
                    resume_ns = max(resume_ns, run.played_ns)
                    # A source is read once; this one begins at its start.
                    source = await asyncio.to_thread(_source, ctx, settings)
        finally:
            await close_pool(pool)
    finally:
        await client.aclose()


async def until_stopped(ctx: ServiceContext, work: Coroutine[Any, Any, None]) -> None:
    """Work to the end; when the service is told to stop, as long as a stop may take."""
    working = asyncio.create_task(work)
    asked = asyncio.create_task(ctx.stopping.wait())
    try:
        await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await asyncio.wait({working}, timeout=STOP_WORK_S)
        if working.done():
            await working
        else:
            ctx.log.warning("stopped while something was away; what was not acknowledged is not published")
    finally:
        for task in (working, asked):
            task.cancel()
        await asyncio.gather(working, asked, return_exceptions=True)


class Run:
    """One playing of the source under streams of its own."""

    def __init__(
        self,
        ctx: ServiceContext,
        settings: IngestSettings,
        instruments: Instruments,
        bulletin: Bulletin,
        pool: asyncpg.Pool,
        database: Outage,
        cut_ns: int | None,
        metrics: IngestMetrics,
    ) -> None:
        self._ctx = ctx
        self._settings = settings
        self._instruments = instruments
        self._bulletin = bulletin
        self._pool = pool
        self._database = database
        self._cut_ns = cut_ns
        self._metrics = metrics
        self._lanes: Lanes | None = None

    @property
    def played_ns(self) -> int:
        """How far the tape was played."""
        return 0 if self._lanes is None else self._lanes.ts_event_ns

    async def play(self, source: Tape | TicksRaw, resume_ns: int) -> None:
        """Play to the end, then watch the log until the service stops.

        Raises:
            NewLog: what was published is gone.
        """
        ctx = self._ctx
        broker = Outage("broker", ctx.clock, ctx.log, ctx)

        async def allocate(symbol: str) -> int:
            return await self._database.through(
                lambda: streams.allocate_stream(self._pool, symbol, source.name, source.lineage), is_away
            )

        async with Publisher(ctx.settings, broker, one_log=True) as publisher:
            self._lanes = Lanes(
                publisher,
                ctx.clock,
                self._instruments,
                allocate,
                source.lineage,
                self._metrics,
                partitions=ctx.settings.partitions,
                tracing=ctx.tracing,
            )
            play = await self._prepare(source, self._lanes, publisher.new_log, resume_ns)
            await play.announce()
            ctx.ready(detail=f"playing {source.name}")
            ctx.log.info(
                "playing",
                extra={"fields": {"source": source.name, "cut_ts_ns": self._cut_ns, "run": self._bulletin.run}},
            )
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
            ended = False
            while not (ended or publisher.new_log.is_set()):
                ended = await ctx.stopped_within(_LOOK_S)
            await publisher.flush()  # raises what the event stands for

    async def _prepare(
        self, source: Tape | TicksRaw, lanes: Lanes, new_log: asyncio.Event, resume_ns: int
    ) -> Replay | Follow:
        ctx, settings = self._ctx, self._settings
        if isinstance(source, TicksRaw):
            poll_s = settings.poll_ms / 1e3
            return Follow(
                source, lanes, self._bulletin, ctx.clock, ctx.stopping, poll_s=poll_s, grace_s=settings.grace_s,
                new_log=new_log,
            )  # fmt: skip
        for symbol, exchange in source.symbols().items():
            await lanes.open(symbol, exchange)
        return Replay(
            source,
            lanes,
            self._bulletin,
            ctx.clock,
            ctx.stopping,
            cut_ns=self._cut_ns,
            speed=parse_speed(settings.speed),
            pace_ns=settings.pace_ms * 1_000_000,
            max_gap_ns=int(settings.max_gap_s * 1e9),
            resume_ns=resume_ns,
            new_log=new_log,
        )


def _source(ctx: ServiceContext, settings: IngestSettings) -> Tape | TicksRaw:
    return _table(ctx, settings) if settings.source == "ticks_raw" else tape_of(settings)


def _cut(source: Tape | TicksRaw, settings: IngestSettings, instruments: Instruments) -> int | None:
    if isinstance(source, TicksRaw) or settings.cut == "none":
        return None
    calendars = [instruments.calendar(symbol) for symbol in source.symbols()]
    return find_cut(settings.cut, *source.time_range(), calendars)


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
