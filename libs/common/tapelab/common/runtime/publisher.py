"""Writing to topics from outside a stage: ingest, the trainer's events, dead letters of readers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType

from tapelab.common.runtime.kafka import new_producer
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import partition_of, qualified


class Publisher:
    """A producer that keeps order per partition and reports every failed send.

    ``in_flight`` bounds the records that wait for the broker: a full window makes :meth:`send` wait,
    so a source slows down instead of filling memory.
    """

    def __init__(self, settings: CommonSettings, *, in_flight: int = 2000) -> None:
        self._settings = settings
        self._producer = new_producer(settings)
        self._in_flight = in_flight
        self._pending: set[asyncio.Future[object]] = set()
        self._failed: BaseException | None = None

    async def __aenter__(self) -> Publisher:
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

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
            KafkaError: an earlier send failed.
        """
        while len(self._pending) >= self._in_flight:
            await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failed()
        future: asyncio.Future[object] = await self._producer.send(
            qualified(self._settings.namespace, topic),
            value,
            key=key.encode(),
            partition=partition_of(key, self._settings.partitions) if partition is None else partition,
            headers=list(headers),
            timestamp_ms=timestamp_ms,
        )
        self._pending.add(future)
        future.add_done_callback(self._done)
        return future

    async def flush(self) -> None:
        """Wait until the broker has everything.

        Raises:
            KafkaError: a send failed.
        """
        while self._pending:
            await asyncio.wait(self._pending)
        self._raise_failed()

    def _done(self, future: asyncio.Future[object]) -> None:
        self._pending.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            self._failed = self._failed or error

    def _raise_failed(self) -> None:
        if self._failed is not None:
            raise self._failed
