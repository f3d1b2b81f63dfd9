"""Opening what an experiment reads, by its configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tapelab.common.clock import Clock
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.instruments import Instruments
from tapelab.common.runtime.outage import Outage
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.postgres import create_pool
from tapelab.trainer.files import AllowedFiles
from tapelab.trainer.sources import FileSource, TickSource
from tapelab.trainer.ticks_raw import Heads, TicksRawSource
from tapelab.trainer.topic_ticks import TopicSource, published_heads


@asynccontextmanager
async def open_source(
    config: ExperimentConfig,
    settings: CommonSettings,
    clock: Clock,
    instruments: Instruments,
    *,
    pool: asyncpg.Pool | None = None,
    in_stack: bool = False,
    files: AllowedFiles | None = None,
    outage: Outage | None = None,
) -> AsyncIterator[TickSource]:
    """The experiment's source of prints.

    Args:
        pool: connections to use; without it, ``ticks_raw`` opens its own.
        in_stack: a broker is there, so that freezing waits for the tick sink to have what was published.
        files: the files that may be read; without it, all.
        outage: waits while the broker is away; without it, that is an error.
    """
    if config.source.kind == "file":
        yield FileSource(instruments, files)
    elif config.source.kind == "topic":
        yield TopicSource(settings, instruments, outage)
    else:
        own = await create_pool(settings.postgres_dsn, max_size=2) if pool is None else None

        async def heads() -> dict[tuple[str, int], int]:
            return await published_heads(settings, outage)

        wait_for: Heads | None = heads if in_stack else None
        try:
            yield TicksRawSource(pool or own, clock, instruments, wait_for)
        finally:
            if own is not None:
                await own.close()
