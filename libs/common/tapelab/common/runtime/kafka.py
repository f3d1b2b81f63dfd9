"""Kafka clients, set up for what the broker can do.

Apache Kafka gives idempotent and transactional producers and static group membership. The embedded
broker gives none of them, so partitions are assigned by hand there and readers drop what they see twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError

from tapelab.common.errors import ConfigError, TapelabError
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import TopicSpec, qualified, unqualified

#: Largest message any topic takes: snapshots of long trailing windows.
MAX_MESSAGE_BYTES: Final = 33_554_432

#: What every Kafka client's failures are.
BrokerError = KafkaError

# The embedded broker stalls consumers at 1 ms and burns a core on many idle polls below 20.
_FETCH_WAIT_MS: Final = {"embedded": 20, "kafka": 5}


def new_producer(settings: CommonSettings, *, transactional_id: str | None = None) -> AIOKafkaProducer:
    """A producer that waits for all replicas; idempotent, and transactional if asked, where the broker can."""
    on_kafka = settings.broker_kind == "kafka"
    options: dict[str, Any] = {"enable_idempotence": True, "compression_type": "zstd"} if on_kafka else {}
    if on_kafka and transactional_id:
        options["transactional_id"] = transactional_id
    return AIOKafkaProducer(
        bootstrap_servers=settings.broker,
        acks="all",
        linger_ms=0,
        max_request_size=MAX_MESSAGE_BYTES,
        max_batch_size=1_048_576,
        **options,
    )


def new_consumer(settings: CommonSettings, *, group: str | None = None) -> AIOKafkaConsumer:
    """A consumer that reads committed records only and never commits by itself."""
    options: dict[str, Any] = {}
    if group is not None:
        options["group_id"] = qualified(settings.namespace, group)
        if settings.broker_kind == "kafka":
            options["group_instance_id"] = f"{qualified(settings.namespace, group)}-{settings.instance}"
    return AIOKafkaConsumer(
        bootstrap_servers=settings.broker,
        enable_auto_commit=False,
        # A group hands a partition out before its snapshot is found, and the client looks for a position at
        # once; the host seeks to the snapshot's and drops what was read before. Elsewhere a lost position is
        # an error.
        auto_offset_reset="none" if group is None else "earliest",
        isolation_level="read_committed" if settings.broker_kind == "kafka" else "read_uncommitted",
        fetch_max_wait_ms=_FETCH_WAIT_MS[settings.broker_kind],
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
        return list(range(settings.partitions)) if settings.broker_kind == "embedded" else []
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


def to_records(settings: CommonSettings, messages: Iterable[Any]) -> list[Record]:
    """Records of what a consumer returned."""
    return [
        Record(
            unqualified(settings.namespace, m.topic),
            m.partition,
            m.offset,
            m.key,
            m.value,
            tuple(m.headers),
            m.timestamp,
        )
        for m in messages
    ]


async def log_end(consumer: AIOKafkaConsumer, settings: CommonSettings, where: TopicPartition) -> int:
    """The offset after a partition's last record.

    The embedded broker answers with the *first* offset of its last batch, plus one; what a fetch from there
    returns tells the rest. The consumer must be assigned to the partition; its position there is moved.
    """
    end = int((await consumer.end_offsets([where]))[where])
    if settings.broker_kind == "embedded" and end > 0:
        consumer.seek(where, end - 1)
        got = await consumer.getmany(where, timeout_ms=2000)
        end = max([end, *(m.offset + 1 for m in got.get(where, []))])
    return end


async def read_range(
    consumer: AIOKafkaConsumer, settings: CommonSettings, topic: str, partition: int, first: int, end: int
) -> list[Record]:
    """Records ``first <= offset < end`` of one partition.

    ``end`` is the log's end or an offset below it; control records and compacted offsets are skipped.
    The consumer must be assigned to the partition and is left at ``end``.

    Raises:
        TapelabError: the broker returned nothing for 30 s.
    """
    where = tp(settings, topic, partition)
    records: list[Record] = []
    if first >= end:
        return records
    consumer.seek(where, first)
    silent = 0
    while (position := await consumer.position(where)) < end:
        got = (await consumer.getmany(where, timeout_ms=500)).get(where, [])
        records += [r for r in to_records(settings, got) if r.offset < end]
        silent = 0 if got or await consumer.position(where) > position else silent + 1
        if silent >= 60:
            raise TapelabError(
                f"cannot read {topic}[{partition}]",
                expected=f"records up to offset {end}",
                actual=f"nothing after offset {position} for 30 s",
                remedy="look at the broker's log",
            )
    return records


async def create_topics(settings: CommonSettings, specs: Sequence[TopicSpec]) -> list[str]:
    """Create the topics that are missing, with the fixed number of partitions.

    Raises:
        ConfigError: a topic is there with another number of partitions.
        TapelabError: the broker refuses a topic.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    await admin.start()
    created = []
    try:
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


def _new_topic(settings: CommonSettings, spec: TopicSpec) -> NewTopic:
    config = {"max.message.bytes": str(spec.max_message_bytes)}
    if spec.compacted:
        config["cleanup.policy"] = "compact"
    else:
        # Event time may be years old: the log's own clock is ingest time.
        config |= {"retention.ms": str(spec.retention_ms), "message.timestamp.type": "LogAppendTime"}
    name = qualified(settings.namespace, spec.name)
    return NewTopic(name, settings.partitions, settings.replication_factor, topic_configs=config)


async def wait_for_broker(settings: CommonSettings, timeout_s: float = 60.0) -> None:
    """Wait until the broker answers.

    Raises:
        TapelabError: it does not within the time.
    """
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
        try:
            await admin.start()
            return
        except KafkaConnectionError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise TapelabError(
                    f"no broker at {settings.broker}",
                    expected=f"a Kafka broker to answer within {timeout_s:g} s",
                    actual=str(error),
                    remedy="start it, or correct TAPELAB_BROKER",
                ) from error
            await asyncio.sleep(0.25)
        finally:
            await admin.close()
