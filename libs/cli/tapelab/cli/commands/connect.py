"""Commands that talk to a running stack."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import asyncpg
from redis.asyncio import Redis

from tapelab.cli.stack.layout import default_layout, stack_environ, without_foreign
from tapelab.common.clock import SystemClock
from tapelab.common.settings import CommonSettings, load
from tapelab.common.storage.postgres import close_pool, create_pool
from tapelab.common.storage.redis import connect
from tapelab.common.storage.registry import Registry

T = TypeVar("T")


class Stack(NamedTuple):
    """Connections to a running stack."""

    settings: CommonSettings
    pool: asyncpg.Pool
    redis: Redis
    registry: Registry


def stack_settings() -> CommonSettings:
    """Settings of the stack that the environment or the run folder names.

    Raises:
        TapelabError: there is none.
    """
    return load(CommonSettings, without_foreign(stack_environ(default_layout())))


@asynccontextmanager
async def connected(*, lazy: bool = False) -> AsyncIterator[Stack]:
    """Connections for one command; ``lazy`` for one that can do without PostgreSQL."""
    settings = stack_settings()
    pool = await create_pool(settings.postgres_dsn, lazy=lazy)
    redis = connect(settings.redis_url)
    try:
        yield Stack(settings, pool, redis, Registry(pool, redis, SystemClock(), settings.namespace))
    finally:
        await redis.aclose()
        await close_pool(pool)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine. What the Kafka client fails with is said once, by ``main``, and not logged before."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return asyncio.run(work)
