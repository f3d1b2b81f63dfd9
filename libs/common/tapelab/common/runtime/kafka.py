"""Kafka clients, set up for what the broker can do, with every wait bounded.

Where the broker has no idempotent producers and no working groups, partitions are assigned by hand and
readers drop what they see twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tapelab.common.errors import ConfigError, TapelabError
from tapelab.common.runtime.capabilities import capabilities
from tapelab.common.runtime.limits import KEY_BYTES
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import ALL_TOPICS, TopicSpec, home_of, qualified, unqualified

#: Largest message any topic takes: snapshots of long trailing windows.
MAX_MESSAGE_BYTES: Final = 33_554_432

#: What every Kafka client's failures are.
BrokerError = KafkaError

#: How long a broker may take to answer. Longer than a group may take to form (SESSION_MS), or joining never ends.
REQUEST_TIMEOUT_MS: Final = 12_000
#: A member that is silent for so long loses its partitions.
SESSION_MS: Final = 10_000
#: How long starting a client or having a step's outputs acknowledged may take before the broker counts as lost.
CLIENT_TIMEOUT_S: Final = 30.0


_PIECE: Final = 2000


class Unavailable(TapelabError):
    """The broker cannot be worked with now; trying again later may do."""


#: What working with a broker that is away fails with.
LOST: Final = (BrokerError, OSError, TimeoutError, Unavailable)


def broker_is_away(error: BaseException) -> bool:
    """Whether a failure means that the broker cannot be worked with now."""
    return isinstance(error, LOST)


def no_broker(settings: CommonSettings, reason: str) -> Unavailable:
    """What a broker that does not answer, for some reason, is told as."""
    return Unavailable(
        f"no broker at {settings.broker}",
        expected="a Kafka broker that answers, and goes on answering",
        actual=reason,
        remedy="start it, or correct TAPELAB_BROKER",
    )


def new_producer(settings: CommonSettings, *, transactional_id: str | None = None) -> AIOKafkaProducer:
    """A producer that waits for all replicas; idempotent, and transactional if asked, where the broker can."""
    able = capabilities(settings)
    options: dict[str, Any] = {"enable_idempotence": able.idempotence, "compression_type": able.compression}
    if able.transactions and transactional_id:
        options["transactional_id"] = transactional_id
    return AIOKafkaProducer(
        bootstrap_servers=settings.broker,
        acks="all",
        linger_ms=0,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_request_size=MAX_MESSAGE_BYTES,
        max_batch_size=1_048_576,
        **options,
    )


def new_consumer(settings: CommonSettings, *, group: str | None = None) -> AIOKafkaConsumer:
    """A consumer that reads committed records only and never commits by itself."""
    able = capabilities(settings)
    options: dict[str, Any] = {}
    if group is not None:
        options["group_id"] = qualified(settings.namespace, settings.deployed(group))
        if able.groups:
            options["group_instance_id"] = f"{options['group_id']}-{settings.instance}"
    return AIOKafkaConsumer(
        bootstrap_servers=settings.broker,
        enable_auto_commit=False,
        # Positions come from snapshots alone: a lost one is an error, never a jump.
        auto_offset_reset="none",
        isolation_level="read_committed" if able.transactions else "read_uncommitted",
        fetch_max_wait_ms=able.fetch_wait_ms,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        session_timeout_ms=SESSION_MS,
        max_partition_fetch_bytes=4_194_304,
        **options,
    )


def tp(settings: CommonSettings, topic: str, partition: int) -> TopicPartition:
    """A topic's partition under the namespace."""
    return TopicPartition(qualified(settings.namespace, topic), partition)


def owned_partitions(settings: CommonSettings) -> list[int]:
    """Partitions assigned by hand; empty where the consumer group decides.

    Raises:
        ConfigError: the setting is not a list of partition numbers.
    """
    if not settings.owned_partitions:
        return [] if capabilities(settings).groups else list(range(settings.partitions))
    try:
        partitions = sorted({int(p) for p in settings.owned_partitions.split(",")})
        if not all(0 <= p < settings.partitions for p in partitions):
            raise ValueError(settings.owned_partitions)
    except ValueError as error:
        raise ConfigError(
            "TAPELAB_OWNED_PARTITIONS is wrong",
            expected=f"numbers from 0 to {settings.partitions - 1}, separated by commas",
            actual=settings.owned_partitions,
            remedy="correct the setting",
        ) from error
    return partitions


def to_records(settings: CommonSettings, messages: Sequence[Any]) -> list[Record]:
    """Records of what a consumer returned of one partition."""
    topic = unqualified(settings.namespace, messages[0].topic) if messages else ""
    n = settings.partitions
    return [
        Record(topic, m.partition, m.offset, m.key, m.value, tuple(m.headers), m.timestamp, _misplaced(m, n))
        for m in messages
    ]


def _misplaced(message: Any, partitions: int) -> bool:
    key = message.key
    return key is not None and len(key) <= KEY_BYTES and bool(home_of(key, partitions) != message.partition)


async def log_end(consumer: AIOKafkaConsumer, settings: CommonSettings, where: TopicPartition) -> int:
    """The offset after a partition's last record.

    A broker without an exact answer says the *first* offset of its last batch, plus one; what a fetch from
    there returns tells the rest. The consumer must be assigned to the partition; its position there is moved.

    Raises:
        Unavailable: the broker did not tell.
    """
    end = int((await consumer.end_offsets([where]))[where])
    if not capabilities(settings).exact_log_end and end > 0:
        consumer.seek(where, end - 1)
        for _ in range(8):
            got = (await consumer.getmany(where, timeout_ms=2000)).get(where, [])
            if got:
                return max(end, int(got[-1].offset) + 1)
        raise Unavailable(
            f"cannot find the end of {where.topic}[{where.partition}]",
            expected=f"a record at offset {end - 1}",
            actual="nothing for 16 s",
            remedy="look at the broker's log",
        )
    return end


async def records_behind(consumer: AIOKafkaConsumer, positions: Mapping[TopicPartition, int]) -> int:
    """How many records lie between some positions and the logs' ends; on the embedded broker, at least so many."""
    ends = await consumer.end_offsets(list(positions))
    return sum(max(0, int(ends[where]) - position) for where, position in positions.items())


async def read_range(
    consumer: AIOKafkaConsumer, settings: CommonSettings, topic: str, partition: int, first: int, end: int
) -> list[Record]:
    """Records ``first <= offset < end`` of one partition, as :func:`read_pieces` gives them."""
    return [r async for piece in read_pieces(consumer, settings, topic, partition, first, end) for r in piece]


async def read_pieces(
    consumer: AIOKafkaConsumer, settings: CommonSettings, topic: str, partition: int, first: int, end: int
) -> AsyncIterator[list[Record]]:
    """Records ``first <= offset < end`` of one partition, a bounded piece at a time.

    ``end`` is the log's end or an offset below it; control records and compacted offsets are skipped.
    The consumer must be assigned to the partition and is left at ``end``.

    Raises:
        Unavailable: the broker returned nothing for 15 s.
    """
    where = tp(settings, topic, partition)
    if first >= end:
        return
    consumer.seek(where, first)
    silent = 0
    while (position := await consumer.position(where)) < end:
        got = (await consumer.getmany(where, timeout_ms=500, max_records=_PIECE)).get(where, [])
        if got:
            yield [r for r in to_records(settings, got) if r.offset < end]
        silent = 0 if got or await consumer.position(where) > position else silent + 1
        if silent >= 30:
            raise Unavailable(
                f"cannot read {topic}[{partition}]",
                expected=f"records up to offset {end}",
                actual=f"nothing after offset {position} for 15 s",
                remedy="look at the broker's log",
            )


async def create_topics(settings: CommonSettings, specs: Sequence[TopicSpec]) -> list[str]:
    """Create the topics that are missing, with the fixed number of partitions.

    Raises:
        ConfigError: a topic is there with another number of partitions.
        TapelabError: the broker refuses a topic.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker, request_timeout_ms=REQUEST_TIMEOUT_MS)
    created = []
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        missing = [s for s in specs if qualified(settings.namespace, s.name) not in existing]
        if missing:
            response = await admin.create_topics(
                [_new_topic(settings, spec) for spec in missing],
            )
            for name, code, *message in response.topic_errors:
                if code not in (0, 36):  # 36: another process was faster
                    raise TapelabError(
                        f"cannot create topic {name}",
                        expected="the broker to create it",
                        actual=f"error {code} {message}",
                        remedy="check the broker's log and rights",
                    )
                created.append(name)
        present = [n for s in specs if (n := qualified(settings.namespace, s.name)) in existing]
        for described in await admin.describe_topics(present) if present else []:
            if len(described["partitions"]) != settings.partitions:
                raise ConfigError(
                    f"topic {described['topic']} has the wrong number of partitions",
                    expected=f"{settings.partitions} (TAPELAB_PARTITIONS)",
                    actual=str(len(described["partitions"])),
                    remedy="set TAPELAB_PARTITIONS to it, or use another TAPELAB_NAMESPACE",
                )
    finally:
        await admin.close()
    return created


async def ensure_topics(settings: CommonSettings, names: Iterable[str]) -> list[str]:
    """Make sure that topics of the product are there; returns those that had to be created.

    A log that does not outlive its broker is created again by whoever comes first. A durable one is never
    created by a service: topics that are missing there were deleted, or were never made.

    Raises:
        Unavailable: topics are missing on a broker with a durable log.
    """
    wanted = set(names)
    specs = [spec for spec in ALL_TOPICS if spec.name in wanted]
    if not capabilities(settings).durable:
        return await create_topics(settings, specs)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        existing = set(await admin.list_topics())
    finally:
        await admin.close()
    missing = sorted(n for s in specs if (n := qualified(settings.namespace, s.name)) not in existing)
    if missing:
        raise Unavailable(
            "topics are missing",
            expected=", ".join(missing),
            actual="no such topics on the broker",
            remedy="run `tapelab init`; work begins once they are there",
        )
    return []


def _new_topic(settings: CommonSettings, spec: TopicSpec) -> NewTopic:
    config = {"max.message.bytes": str(spec.max_message_bytes)}
    if spec.compacted:
        config["cleanup.policy"] = "compact"
    else:
        # Event time may be years old: the log's own clock is ingest time.
        config |= {"retention.ms": str(spec.retention_ms), "message.timestamp.type": "LogAppendTime"}
    name = qualified(settings.namespace, spec.name)
    return NewTopic(name, settings.partitions, settings.replication_factor, topic_configs=config)
