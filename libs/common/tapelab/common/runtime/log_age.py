"""Whether the log is the one that was read before, where a broker's restart empties it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from tapelab.common.runtime.kafka import log_end, tp
from tapelab.common.settings import CommonSettings


class LogAge:
    """Tells when the log is new. Only a message depends on it: state always comes from the log itself."""

    def __init__(self, settings: CommonSettings, log: logging.Logger) -> None:
        self._settings = settings
        self._log = log
        self._read: dict[TopicPartition, int] = {}

    def created(self, topics: Sequence[str]) -> None:
        """Topics had to be created."""
        if topics:
            self._say(f"{len(topics)} of its topics were missing and have been created")

    def remember(self, offsets: Mapping[TopicPartition, int]) -> None:
        """How far the log was read by the session that ends."""
        self._read.update(offsets)

    async def check(self, helper: AIOKafkaConsumer, topics: Sequence[str], partition: int) -> None:
        """Compare with what was read; the helper must be assigned to the topics' partition."""
        for where in (tp(self._settings, topic, partition) for topic in topics):
            read = self._read.pop(where, 0)
            if read > 0 and (end := await log_end(helper, self._settings, where)) < read:
                self._say(f"{where.topic}[{partition}] was read up to offset {read} and ends at {end} now")

    def _say(self, why: str) -> None:
        self._read.clear()
        self._log.warning(f"the broker's log is new, state starts empty and streams start anew: {why}")
