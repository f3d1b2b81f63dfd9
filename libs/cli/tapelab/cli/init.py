"""``tapelab init``: what a stack needs before its services start: topics and database schema."""

from __future__ import annotations

from tapelab.common.runtime.kafka import create_topics
from tapelab.common.runtime.patience import patiently, wait_for_broker
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.postgres import apply_schema, create_pool
from tapelab.common.topics import ALL_TOPICS


async def initialise(settings: CommonSettings, *, timeout_s: float = 60.0) -> list[str]:
    """Create what is missing; safe to run again. Returns the topics that were created.

    Raises:
        TapelabError: the broker does not answer, or a topic is there with other partitions.
    """
    await wait_for_broker(settings, timeout_s)
    created = await patiently(lambda: create_topics(settings, ALL_TOPICS), timeout_s)
    pool = await create_pool(settings.postgres_dsn)
    try:
        await apply_schema(pool)
    finally:
        await pool.close()
    return created
