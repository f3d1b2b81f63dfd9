"""Reading topics from outside a stage: the gateway, the tick sink, the trainer, the command line."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Literal

from aiokafka import TopicPartition

from tapelab.common.runtime.kafka import log_end, new_consumer, to_records, tp
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import CommonSettings


class TopicReader:
    """Reads all partitions of some topics, committed records only, without a consumer group.

    Order holds within a partition; apply :class:`~tapelab.common.runtime.sequence.Sequencer` to drop what
    a producer wrote twice.
    """

    def __init__(
        self, settings: CommonSettings, topics: Sequence[str], *, start: Literal["earliest", "latest"]
    ) -> None:
        self._settings = settings
        self._start = start
        self._partitions = [tp(settings, t, p) for t in topics for p in range(settings.partitions)]
        self._consumer = new_consumer(settings)

    async def __aenter__(self) -> TopicReader:
        try:
            await self._consumer.start()
            self._consumer.assign(self._partitions)
            for where, offset in (await self._consumer.beginning_offsets(self._partitions)).items():
                self._consumer.seek(where, offset)
            if self._start == "latest":
                for where, offset in (await self._ends()).items():
                    self._consumer.seek(where, offset)
        except BaseException:  # a cancellation too: nobody else would close it
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def seek_back(self, records: int) -> None:
        """Go on from at most so many records before each partition's end."""
        begins = await self._consumer.beginning_offsets(self._partitions)
        for where, end in (await self._ends()).items():
            self._consumer.seek(where, max(begins[where], end - records))

    async def poll(self, timeout_s: float = 0.2, max_records: int = 5000) -> list[Record]:
        """The next records, at most ``max_records``; empty after ``timeout_s`` without any."""
        got = await self._consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        return [record for messages in got.values() for record in to_records(self._settings, messages)]

    async def lag(self) -> int:
        """Offsets between this reader's position and the ends of the logs."""
        ends = await self._ends()
        return sum([max(0, end - await self._consumer.position(where)) for where, end in ends.items()])

    async def read_to_end(self) -> list[Record]:
        """Every record up to the logs' ends as they are now."""
        ends = await self._ends()
        records: list[Record] = []
        while any([await self._consumer.position(where) < end for where, end in ends.items()]):
            records += await self.poll(timeout_s=0.5, max_records=50_000)
        return records

    async def _ends(self) -> dict[TopicPartition, int]:
        """Where the logs end; the positions stay."""
        ends: dict[TopicPartition, int] = {}
        for where in self._partitions:
            position = await self._consumer.position(where)
            ends[where] = await log_end(self._consumer, self._settings, where)
            self._consumer.seek(where, position)
        return ends
