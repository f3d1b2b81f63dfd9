"""Whether a writer's log is still the one it wrote to, where a broker's restart empties it."""

from __future__ import annotations

from collections.abc import Mapping

from tapelab.common.errors import TapelabError
from tapelab.common.runtime.capabilities import capabilities
from tapelab.common.runtime.closing import close_consumer
from tapelab.common.runtime.kafka import create_topics, log_end, new_consumer, read_range, tp
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import ALL_TOPICS


class NewLog(TapelabError):
    """The broker has lost what was written: its log is another one."""


async def log_is_new(settings: CommonSettings, last: Mapping[tuple[str, int], tuple[int, bytes]]) -> bool:
    """Whether the log no longer holds what it acknowledged last; topics that are missing there are created.

    Args:
        last: offset and value of the last acknowledged record, by topic and partition.
    """
    if capabilities(settings).durable:
        return False
    created = await create_topics(settings, ALL_TOPICS)
    if created or not last:
        return bool(created and last)
    consumer = new_consumer(settings)
    try:
        await consumer.start()
        consumer.assign([tp(settings, topic, partition) for topic, partition in last])
        for (topic, partition), (offset, value) in last.items():
            if await log_end(consumer, settings, tp(settings, topic, partition)) <= offset:
                return True
            found = await read_range(consumer, settings, topic, partition, offset, offset + 1)
            if [record.value for record in found] != [value]:
                return True
        return False
    finally:
        await close_consumer(consumer)


def new_log() -> NewLog:
    """What a writer whose records only make sense together is told."""
    return NewLog(
        "the broker's log is new",
        expected="the log that holds what was published",
        actual="another one: the embedded broker keeps it in memory and was restarted",
        remedy="the source begins new streams; BROKER=kafka keeps the log",
    )
