"""Writing to topics from outside a stage: ingest, the trainer's events, dead letters of readers.

Records wait here, in order, until the broker has acknowledged them. One batch per partition is under way at a time,
so a batch that fails is followed by nothing: after an outage the same records go out again in the same order, and what
was written already is written twice with the same bytes, which readers drop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from tapelab.common.errors import TapelabError
from tapelab.common.runtime.closing import close_producer
from tapelab.common.runtime.kafka import CLIENT_TIMEOUT_S, LOST, new_producer
from tapelab.common.runtime.link import BrokerLink
from tapelab.common.runtime.lost_log import log_is_new, new_log
from tapelab.common.runtime.outage import Outage, Stopped
from tapelab.common.runtime.patience import patient
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import ALL_TOPICS, partition_of, qualified

#: A broker that takes longer over a batch counts as away for the readiness.
_SLOW_S: Final = 3.0
#: What a record takes on the wire besides key, value and headers, with the batch around it.
_OVERHEAD_BYTES: Final = 256
_LIMITS: Final = {spec.name: spec.max_message_bytes for spec in ALL_TOPICS}


class OversizeRecord(TapelabError):
    """A record is larger than its topic takes."""


class _Item:
    """A record that waits for its acknowledgement."""

    __slots__ = ("acknowledged", "headers", "key", "timestamp_ms", "value")

    def __init__(self, key: str, value: bytes, headers: Sequence[tuple[str, bytes]], timestamp_ms: int | None) -> None:
        self.key = key
        self.value = value
        self.headers = list(headers)
        self.timestamp_ms = timestamp_ms
        self.acknowledged: asyncio.Future[object] = asyncio.get_running_loop().create_future()


class _Lane:
    """One partition of a topic: what waits, and the last record that was acknowledged."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.queue: deque[_Item] = deque()
        self.filled = asyncio.Event()
        self.alone = False  # send records one by one: one of the last batch was refused
        self.last: tuple[int, bytes] | None = None


class Publisher:
    """A producer that keeps order per partition, loses nothing while the broker is away, and says how it is.

    ``in_flight`` bounds the records that wait for the broker: a full window makes :meth:`send` wait, so a source
    slows down instead of filling memory, for as long as the broker is away.

    Args:
        outage: waits and tells; without one, a command's patience.
        one_log: what is written only makes sense together with what was written before. Where the embedded
            broker was restarted, :meth:`send` and :meth:`flush` then raise :class:`NewLog`, and ``new_log`` is set;
            otherwise records simply go to the new log.
    """

    def __init__(
        self, settings: CommonSettings, outage: Outage | None = None, *, in_flight: int = 2000, one_log: bool = False
    ) -> None:
        self._settings = settings
        self._outage = outage or patient()
        self._in_flight = in_flight
        self._one_log = one_log
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._waiting = 0
        self._moved = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None
        self._connected = asyncio.Event()
        self._broken = asyncio.Event()
        self._reason = ""
        self._failure: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: list[asyncio.Task[Any]] = []
        self._link: BrokerLink | None = None
        #: Set when the broker's log was found to be another one.
        self.new_log = asyncio.Event()

    async def __aenter__(self) -> Publisher:
        self._tasks.append(asyncio.create_task(self._sessions()))
        try:
            await self._first()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._failure is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SLOW_S):
                    await self.flush()
        await self._end()

    async def send(
        self,
        topic: str,
        key: str,
        value: bytes,
        *,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        timestamp_ms: int | None = None,
    ) -> asyncio.Future[object]:
        """Queue a record; the future ends when the broker has it.

        Raises:
            OversizeRecord: the topic takes no record of this size; the others go on.
            NewLog: see ``one_log``.
        """
        size = len(key) + len(value) + sum(len(k) + len(v) for k, v in headers) + _OVERHEAD_BYTES
        if size > _LIMITS.get(topic, size):
            raise _oversize(topic, key, size)
        await self._until(lambda: self._waiting < self._in_flight)
        where = partition_of(key, self._settings.partitions) if partition is None else partition
        lane = self._lanes.get((topic, where))
        if lane is None:
            lane = self._lanes[topic, where] = _Lane(topic, where)
            self._tasks.append(asyncio.create_task(self._drain(lane)))
        item = _Item(key, value, headers, timestamp_ms)
        lane.queue.append(item)
        self._waiting += 1
        lane.filled.set()
        return item.acknowledged

    async def flush(self) -> None:
        """Wait until the broker has everything.

        Raises:
            NewLog: see ``one_log``.
        """
        await self._until(lambda: self._waiting == 0)

    async def _first(self) -> None:
        connecting = asyncio.create_task(self._connected.wait())
        try:
            await asyncio.wait({connecting, self._tasks[0]}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connecting.cancel()
        self._raise_failure()

    async def _until(self, reached: Any) -> None:
        while True:
            self._raise_failure()
            if reached():
                return
            self._moved.clear()
            await self._moved.wait()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._closing, return_exceptions=True)
        if self._link is not None:
            self._link.close()
        for lane in self._lanes.values():
            for item in lane.queue:
                item.acknowledged.cancel()

    async def _sessions(self) -> None:
        """Keep a producer connected; every one that fails is replaced by a new one."""
        try:
            while True:
                await self._outage.wait(await self._session())
        except (TapelabError, Stopped) as error:
            self._failure = error
            self._moved.set()

    async def _session(self) -> str:
        """One producer from start to failure: why it ended.

        Raises:
            NewLog: see ``one_log``.
        """
        link = self._link = BrokerLink(self._settings)
        reason = await link.open()
        if reason is not None:
            return reason
        producer = new_producer(self._settings)
        watching = asyncio.create_task(link.watch())
        broken = asyncio.create_task(self._broken.wait())
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await producer.start()
                if await log_is_new(self._settings, self._last()):
                    self._say_new()
            self._producer = producer
            self._broken.clear()
            self._connected.set()
            self._outage.over()
            await asyncio.wait({watching, broken}, return_when=asyncio.FIRST_COMPLETED)
            return watching.result() if watching.done() else self._reason
        except LOST as error:
            return f"{type(error).__name__}: {error}"
        finally:
            self._producer = None
            self._connected.clear()
            self._broken.clear()
            watching.cancel()
            broken.cancel()
            # Tasks that outlive a cancellation of this one: the end of the publisher waits for them.
            self._closing = [watching, broken, asyncio.create_task(close_producer(producer))]
            await asyncio.wait(self._closing)
            link.close()

    async def _drain(self, lane: _Lane) -> None:
        """Send what waits in a partition, one batch after the other."""
        while True:
            while not lane.queue:
                lane.filled.clear()
                await lane.filled.wait()
            await self._connected.wait()
            producer = self._producer
            if producer is None:
                continue
            try:
                count, offset = await self._send_batch(producer, lane)
            except MessageSizeTooLargeError:
                self._refused(lane)
                continue
            except LOST as error:
                if self._producer is producer:
                    self._reason = f"{type(error).__name__}: {error}"
                    self._connected.clear()
                    self._broken.set()
                continue
            if self._producer is not producer:
                continue  # what answered may hold another log: not to be trusted
            self._acknowledged(lane, count, offset)

    async def _send_batch(self, producer: AIOKafkaProducer, lane: _Lane) -> tuple[int, int]:
        batch = producer.create_batch()
        count = 0
        for item in lane.queue:
            added = batch.append(
                timestamp=item.timestamp_ms, key=item.key.encode(), value=item.value, headers=item.headers
            )
            if added is None:
                break
            count += 1
            if lane.alone:
                break
        batch.close()
        topic = qualified(self._settings.namespace, lane.topic)
        written = asyncio.ensure_future(await producer.send_batch(batch, topic, partition=lane.partition))
        written.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also if nobody waits
        done, _ = await asyncio.wait({written}, timeout=_SLOW_S)
        if not done:
            self._outage.begin(f"no acknowledgement of {lane.topic}[{lane.partition}] for {_SLOW_S:g} s")
        return count, int((await written).offset)

    def _acknowledged(self, lane: _Lane, count: int, offset: int) -> None:
        if self._outage.away:
            self._outage.over()
        for _ in range(count):
            item = lane.queue.popleft()
            if not item.acknowledged.done():
                item.acknowledged.set_result(None)
        lane.last = (offset + count - 1, item.value)
        lane.alone = False
        self._waiting -= count
        self._moved.set()

    def _refused(self, lane: _Lane) -> None:
        """The broker takes no batch of this size: find the record, and let the others pass."""
        if not lane.alone and len(lane.queue) > 1:
            lane.alone = True
            return
        item = lane.queue.popleft()
        if not item.acknowledged.done():
            item.acknowledged.set_exception(_oversize(lane.topic, item.key, len(item.value)))
        self._waiting -= 1
        self._moved.set()

    def _last(self) -> dict[tuple[str, int], tuple[int, bytes]]:
        return {where: lane.last for where, lane in self._lanes.items() if lane.last is not None}

    def _say_new(self) -> None:
        for lane in self._lanes.values():
            lane.last = None
        error = new_log()
        if self._one_log:
            self._failure = error
            self._moved.set()
        self.new_log.set()
        if self._one_log:
            raise error


def _oversize(topic: str, key: str, size: int) -> OversizeRecord:
    return OversizeRecord(
        f"a record of {key} is too large for {topic}",
        expected=f"at most {_LIMITS.get(topic, 0):,} bytes",
        actual=f"{size:,} bytes",
        remedy="split it; the record was not sent, and the others go on",
    )
