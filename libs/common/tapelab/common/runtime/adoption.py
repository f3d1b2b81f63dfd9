"""After a crash the output log may be ahead of the snapshot: adopt what it holds instead of writing it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaConsumer

from tapelab.common.codec import Identity, decode, identity, seq_range
from tapelab.common.errors import PoisonRecord
from tapelab.common.runtime.compute import Compute
from tapelab.common.runtime.headers import origin_offset
from tapelab.common.runtime.kafka import log_end, read_pieces, tp
from tapelab.common.runtime.stage import Output, Record
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import DLQ_SUFFIX


class Adopted:
    """What the output topics of one partition hold already, beyond a snapshot."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, Identity], int] = {}
        # Each one: a chunk's records are worked on symbol by symbol, so letters are not in the log's order.
        self._dead: set[tuple[str, int]] = set()

    def learn(self, stage: str, records: Iterable[Record]) -> None:
        """Take in records of an output or dead-letter topic."""
        for record in records:
            if record.topic.endswith(DLQ_SUFFIX):
                offset = origin_offset(record.headers, stage)
                if offset is not None:
                    self._dead.add((record.topic, offset))
                continue
            try:
                value = decode(record.topic, record.value)
            except PoisonRecord:
                continue  # somebody else's garbage: the topic's own reader deals with it
            slot = (record.topic, identity(value))
            self._next[slot] = max(self._next.get(slot, 0), seq_range(value)[1])

    @property
    def empty(self) -> bool:
        """Whether they hold nothing."""
        return not (self._next or self._dead)

    def has(self, output: Output) -> bool:
        """Whether the log holds this output already."""
        slot = (output.topic, identity(output.record))
        return seq_range(output.record)[1] <= self._next.get(slot, -1)

    def has_dead(self, record: Record) -> bool:
        """Whether the dead-letter topic holds this record already."""
        return (record.topic + DLQ_SUFFIX, record.offset) in self._dead


async def read_adopted(
    compute: Compute,
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
        async for piece in read_pieces(consumer, settings, topic, partition, first, ends[topic]):
            await compute.run(adopted.learn, stage, piece)
    return adopted, ends
