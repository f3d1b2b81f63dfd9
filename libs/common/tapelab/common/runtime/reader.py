"""Reading topics from outside a stage: the gateway, the tick sink, the trainer, the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from tapelab.common.runtime.capabilities import capabilities
from tapelab.common.runtime.closing import close_consumer
from tapelab.common.runtime.kafka import (
    CLIENT_TIMEOUT_S,
    LOST,
    Unavailable,
    broker_is_away,
    create_topics,
    log_end,
    new_consumer,
    no_broker,
    read_range,
    to_records,
    tp,
)
from tapelab.common.runtime.link import BrokerLink
from tapelab.common.runtime.outage import Outage
from tapelab.common.runtime.patience import patient, patiently
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import ALL_TOPICS

#: How long a read to the log's end may go without a record.
_SILENT_S: Final = 60.0


async def read_topic(
    settings: CommonSettings, topic: str, outage: Outage | None = None, *, tail: int | None = None
) -> list[Record]:
    """Every record of a topic up to its end as it is now.

    Args:
        outage: waits while the broker is away, then reads again from the start; without it a command's patience.
        tail: at most so many records of each partition, the newest.
    """

    async def attempt() -> list[Record]:
        async with TopicReader(settings, [topic], start="earliest") as reader:
            if tail is not None:
                await reader.seek_back(tail)
            return await reader.read_to_end()

    return await (outage or patient()).through(attempt, broker_is_away)


async def read_at(settings: CommonSettings, topic: str, partition: int, offset: int) -> Record | None:
    """One record; None where the log does not hold that offset (any more)."""
    if not 0 <= partition < settings.partitions:
        return None
    return await patiently(lambda: _read_at(settings, topic, partition, offset))


async def _read_at(settings: CommonSettings, topic: str, partition: int, offset: int) -> Record | None:
    consumer = new_consumer(settings)
    try:
        await consumer.start()
        where = tp(settings, topic, partition)
        consumer.assign([where])
        begin = (await consumer.beginning_offsets([where]))[where]
        if not begin <= offset < await log_end(consumer, settings, where):
            return None
        found = await read_range(consumer, settings, topic, partition, offset, offset + 1)
        return found[0] if found else None
    finally:
        await close_consumer(consumer)


class TopicReader:
    """Reads all partitions of some topics, committed records only, without a consumer group.

    Order holds within a partition; apply :class:`~tapelab.common.runtime.sequence.Sequencer` to drop what
    a producer wrote twice. On a broker whose log does not outlive it, a connection that broke may mean another
    log: everything is then read from its beginning again, and whoever reads drops what it has seen.

    Args:
        outage: waits and tells while the broker is away, and :meth:`poll` then returns nothing; without one the
            first answer is waited for with a command's patience, and a failure after it is raised.
    """

    def __init__(
        self,
        settings: CommonSettings,
        topics: Sequence[str],
        *,
        start: Literal["earliest", "latest"],
        outage: Outage | None = None,
    ) -> None:
        self._settings = settings
        self._start = start
        self._topics = tuple(topics)
        self._partitions = [tp(settings, t, p) for t in topics for p in range(settings.partitions)]
        self._outage = outage
        self._positions: dict[TopicPartition, int] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._link: BrokerLink | None = None
        self._watching: asyncio.Task[str] | None = None
        self._lag = 0
        #: How often it began at the beginning again.
        self.restarts = 0

    async def __aenter__(self) -> TopicReader:
        if self._outage is None:
            await patiently(self._opened)
            return self
        try:
            await self._opened()
        except LOST as error:
            self._outage.begin(error)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def wait_with(self, outage: Outage) -> None:
        """From now on wait while the broker is away, instead of failing."""
        self._outage = outage

    async def seek_back(self, records: int) -> None:
        """Go on from at most so many records before each partition's end."""
        consumer = self._working()
        begins = await consumer.beginning_offsets(self._partitions)
        for where, end in (await self._ends(consumer)).items():
            self._seek(consumer, where, max(begins[where], end - records))

    async def poll(self, timeout_s: float = 0.2, max_records: int = 5000) -> list[Record]:
        """The next records, at most ``max_records``; empty after ``timeout_s`` without any."""
        try:
            return await self._poll(timeout_s, max_records)
        except LOST as error:
            await self._close()
            if self._outage is None:
                raise
            await self._outage.wait(error)
            return []

    async def lag(self) -> int:
        """Offsets between this reader's position and the ends of the logs; the last known ones in an outage."""
        try:
            consumer = self._working()
            ends = await self._ends(consumer)
            await self._catch_up(consumer)
            self._lag = sum(max(0, end - self._positions[where]) for where, end in ends.items())
        except LOST:
            if self._outage is None:
                raise
        return self._lag

    @property
    def behind(self) -> int:
        """Offsets to go as of the last answers to this reader; unlike :meth:`lag` it asks nothing of the broker.

        0 before the first answer; commit markers of transactions count.
        """
        if self._consumer is None:
            return self._lag
        self._lag = sum(max(0, (self._consumer.highwater(where) or 0) - at) for where, at in self._positions.items())
        return self._lag

    async def read_to_end(self) -> list[Record]:
        """Every record up to the logs' ends as they are now.

        Raises:
            Unavailable: the broker was lost meanwhile, or returns nothing more.
        """
        return [record async for records in self.chunks() for record in records]

    async def chunks(self, max_records: int = 2000) -> AsyncIterator[list[Record]]:
        """What :meth:`read_to_end` gives, as it is read.

        Raises:
            Unavailable: the broker was lost meanwhile, or returns nothing more.
        """
        consumer, restarts = self._working(), self.restarts
        ends = await self._ends(consumer)
        count = 0
        loop = asyncio.get_running_loop()
        last = loop.time()
        while any(self._positions[where] < end for where, end in ends.items()):
            more = await self._poll(0.5, max_records)
            await self._catch_up(consumer)
            last = loop.time() if more else last
            if self.restarts != restarts or self._consumer is not consumer or loop.time() - last > _SILENT_S:
                raise Unavailable(
                    f"cannot read {', '.join(self._topics)} to the end",
                    expected="every record up to the ends of the logs",
                    actual=f"{count} records, then an interruption",
                    remedy="try again when the broker answers",
                )
            count += len(more)
            yield more

    async def _catch_up(self, consumer: AIOKafkaConsumer) -> None:
        """A position also moves over control records, which are never returned."""
        for where in self._partitions:
            self._positions[where] = max(self._positions[where], await consumer.position(where))

    async def _poll(self, timeout_s: float, max_records: int) -> list[Record]:
        if self._consumer is None:
            await self._open()
        consumer = self._working()
        try:
            got = await consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except OffsetOutOfRangeError as error:
            await self._expired(consumer, error)
            return []
        self._working()  # else what answered may be another log: nothing of it counts
        for where, messages in got.items():
            if messages:
                self._positions[where] = messages[-1].offset + 1
        return [record for messages in got.values() for record in to_records(self._settings, messages)]

    async def _expired(self, consumer: AIOKafkaConsumer, error: OffsetOutOfRangeError) -> None:
        """The log no longer holds a position: go on where it begins, and say what is gone."""
        if not capabilities(self._settings).durable:
            raise Unavailable(
                "the log is another one",
                expected=f"records at {self._positions}",
                actual=str(error),
                remedy="it is read from its beginning",
            ) from error
        begins = await consumer.beginning_offsets(self._partitions)
        for where, begin in begins.items():
            if self._positions[where] < begin:
                if self._outage is not None:
                    self._outage.log.error(
                        f"{where.topic}[{where.partition}] no longer holds offsets {self._positions[where]} to "
                        f"{begin - 1}: the reader was behind for longer than the topic's retention; going on at {begin}"
                    )
                self._seek(consumer, where, begin)

    def _working(self) -> AIOKafkaConsumer:
        """The consumer, as long as its connection is known to be unbroken.

        Raises:
            Unavailable: it is not.
        """
        if self._consumer is not None and self._watching is not None and not self._watching.done():
            return self._consumer
        broken = self._watching is not None and self._watching.done() and not self._watching.cancelled()
        raise no_broker(self._settings, self._watching.result() if broken and self._watching else "no connection")

    async def _opened(self) -> None:
        try:
            await self._open()
        except BaseException:  # a cancellation too: nobody else would close it
            await self._close()
            raise

    async def _open(self) -> None:
        link = self._link = BrokerLink(self._settings)
        reason = await link.open()
        if reason is not None:
            raise no_broker(self._settings, reason)
        self._watching = asyncio.create_task(link.watch())
        durable = capabilities(self._settings).durable
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            if not durable and self._positions:
                await create_topics(self._settings, [spec for spec in ALL_TOPICS if spec.name in self._topics])
            consumer = new_consumer(self._settings)
            self._consumer = consumer
            await consumer.start()
            consumer.assign(self._partitions)
            begins = await consumer.beginning_offsets(self._partitions)
            if self._positions and durable:
                for where in self._partitions:
                    consumer.seek(where, self._positions[where])
            else:
                self.restarts += bool(self._positions)
                fresh = not self._positions
                for where, offset in begins.items():
                    self._seek(consumer, where, offset)
                if self._start == "latest" and fresh:
                    for where, offset in (await self._ends(consumer)).items():
                        self._seek(consumer, where, offset)
        if self._outage is not None:
            self._outage.over()

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        watching, self._watching = self._watching, None
        link, self._link = self._link, None
        lost = watching is None or watching.done()
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if consumer is not None:
            await close_consumer(consumer, lost=lost)
        if link is not None:
            link.close()

    def _seek(self, consumer: AIOKafkaConsumer, where: TopicPartition, offset: int) -> None:
        consumer.seek(where, offset)
        self._positions[where] = offset

    async def _ends(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Where the logs end; the positions stay."""
        ends: dict[TopicPartition, int] = {}
        for where in self._partitions:
            position = await consumer.position(where)
            ends[where] = await log_end(consumer, self._settings, where)
            consumer.seek(where, position)
        return ends
