"""After a crash the output log may be ahead of the snapshot: adopt what it holds instead of writing it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaConsumer

from tapelab.common.codec import Identity, decode, identity, seq_range
from tapelab.common.errors import PoisonRecord
from tapelab.common.runtime.headers import origin_offset
from tapelab.common.runtime.kafka import log_end, read_range, tp
from tapelab.common.runtime.stage import Dead, Output, Record
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import DLQ_SUFFIX


class Adopted:
    """What the output topics of one partition hold already, beyond a snapshot."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, Identity], int] = {}
        self._dead: dict[str, int] = {}

    def learn(self, stage: str, records: Iterable[Record]) -> None:
        """Take in records of an output or dead-letter topic."""
        for record in records:
            if record.topic.endswith(DLQ_SUFFIX):
                offset = origin_offset(record.headers, stage)
                if offset is not None:
                    self._dead[record.topic] = max(self._dead.get(record.topic, -1), offset)
                continue
            try:
                value = decode(record.topic, record.value)
            except PoisonRecord:
                continue  # somebody else's garbage: the topic's own reader deals with it
            slot = (record.topic, identity(value))
            self._next[slot] = max(self._next.get(slot, 0), seq_range(value)[1])

    def has(self, output: Output) -> bool:
        """Whether the log holds this output already."""
        slot = (output.topic, identity(output.record))
        return seq_range(output.record)[1] <= self._next.get(slot, -1)

    def has_dead(self, record: Record, dead: Dead) -> bool:
        """Whether the dead-letter topic holds this record already."""
        return record.offset <= self._dead.get(record.topic + DLQ_SUFFIX, -1)


async def read_adopted(
    consumer: AIOKafkaConsumer,
    settings: CommonSettings,
    stage: str,
    topics: Sequence[str],
    partition: int,
    since: dict[str, int],
) -> tuple[Adopted, dict[str, int]]:
    """What the outputs hold from the given offsets on, and where their logs end.

    The consumer must be assigned to the topics' partition.
    """
    adopted = Adopted()
    ends: dict[str, int] = {}
    for topic in topics:
        where = tp(settings, topic, partition)
        begin = (await consumer.beginning_offsets([where]))[where]
        ends[topic] = await log_end(consumer, settings, where)
        first = max(begin, since.get(topic, begin))
        adopted.learn(stage, await read_range(consumer, settings, topic, partition, first, ends[topic]))
    return adopted, ends
