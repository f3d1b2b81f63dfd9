"""Topics: names, retention and where a symbol's records go."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

TICKS: Final = "md.ticks.v1"
BOOK: Final = "md.book.v1"
BARS: Final = "md.bars.v1"
FEATURES: Final = "ml.features.v1"
SIGNALS: Final = "ml.signals.v1"
EVENTS: Final = "ml.events.v1"

DLQ_SUFFIX: Final = ".dlq"
DAY_MS: Final = 86_400_000


class TopicSpec(NamedTuple):
    """How a topic is created."""

    name: str
    retention_ms: int
    compacted: bool = False
    max_message_bytes: int = 4_194_304


def state_topic(stage: str) -> str:
    """The compacted topic of a stage's snapshots."""
    return f"{stage}.state.v1"


_DATA: Final = (
    TopicSpec(TICKS, 7 * DAY_MS),
    TopicSpec(BOOK, 2 * DAY_MS),
    TopicSpec(BARS, 30 * DAY_MS),
    TopicSpec(FEATURES, 30 * DAY_MS),
    TopicSpec(SIGNALS, 90 * DAY_MS),
    TopicSpec(EVENTS, 30 * DAY_MS),
)

#: Every topic of the product; the dead-letter topic of X is X.dlq.
ALL_TOPICS: Final[tuple[TopicSpec, ...]] = (
    *_DATA,
    # A dead letter is the record as it came, and headers that say where from and why.
    *(TopicSpec(t.name + DLQ_SUFFIX, 30 * DAY_MS, max_message_bytes=t.max_message_bytes + 65_536) for t in _DATA),
    *(
        TopicSpec(state_topic(stage), -1, compacted=True, max_message_bytes=33_554_432)
        for stage in ("bars", "features", "inference")
    ),
)


def qualified(namespace: str, topic: str) -> str:
    """The topic's name on the broker: ``namespace.topic``, or the topic itself without a namespace."""
    return f"{namespace}.{topic}" if namespace else topic


def unqualified(namespace: str, topic: str) -> str:
    """The reverse of :func:`qualified`."""
    return topic.removeprefix(f"{namespace}.") if namespace else topic


def _murmur2(data: bytes) -> int:
    """MurmurHash2 as Kafka's Java client computes it, so that every client agrees on the partition."""
    length = len(data)
    m = 0x5BD1E995
    mask = 0xFFFFFFFF
    h = 0x9747B28C ^ length
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * m) & mask
        k ^= k >> 24
        k = (k * m) & mask
        h = ((h * m) & mask) ^ k
    tail = data[length - length % 4 :]
    if tail:
        h ^= int.from_bytes(tail, "little")
        h = (h * m) & mask
    h ^= h >> 13
    h = (h * m) & mask
    return h ^ (h >> 15)


def partition_of(symbol: str, partitions: int) -> int:
    """Partition of a symbol, the same on every market topic."""
    return home_of(symbol.encode(), partitions)


@lru_cache(maxsize=4096)
def home_of(key: bytes, partitions: int) -> int:
    """Partition of a record's key."""
    return (_murmur2(key) & 0x7FFFFFFF) % partitions
