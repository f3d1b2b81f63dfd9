"""Stages over logs in memory: for tests, and for recomputing offline what the live way made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tapelab.common.codec import MarketRecord, encode
from tapelab.common.runtime.stage import Dead, Record, Stage, Step
from tapelab.common.topics import DLQ_SUFFIX, partition_of


class MemoryLog:
    """Topics as lists, with the same partitioning as the broker."""

    def __init__(self, partitions: int = 4) -> None:
        self.partitions = partitions
        self._logs: dict[tuple[str, int], list[Record]] = {}

    def append(self, topic: str, key: str, value: bytes | None, headers: Iterable[tuple[str, bytes]] = ()) -> Record:
        """Write one record."""
        partition = partition_of(key, self.partitions)
        log = self._logs.setdefault((topic, partition), [])
        record = Record(topic, partition, len(log), key.encode(), value, tuple(headers))
        log.append(record)
        return record

    def publish(self, topic: str, record: MarketRecord) -> Record:
        """Encode and write one record under its symbol."""
        return self.append(topic, record.symbol, encode(record))

    def read(self, topic: str, partition: int, offset: int = 0) -> list[Record]:
        """Records of one partition from an offset on."""
        return self._logs.get((topic, partition), [])[offset:]

    def all(self, topic: str) -> list[Record]:
        """Records of all partitions, partition by partition."""
        return [r for p in range(self.partitions) for r in self.read(topic, p)]


class MemoryHost:
    """Runs one stage per partition over a :class:`MemoryLog`, in slices of at most ``max_records``."""

    def __init__(self, log: MemoryLog, topic: str, factory: Callable[[int], Stage], *, max_records: int = 2000) -> None:
        self._log = log
        self._topic = topic
        self._max_records = max_records
        self.stages = {p: factory(p) for p in range(log.partitions)}
        self.offsets = dict.fromkeys(self.stages, 0)
        self.dead: list[Dead] = []
        self.halts: dict[str, str] = {}

    def run(self) -> None:
        """Process everything that is in the log."""
        for partition, stage in self.stages.items():
            while records := self._log.read(self._topic, partition, self.offsets[partition])[: self._max_records]:
                self._deliver(records, stage.process(records))
                self.offsets[partition] += len(records)

    def _deliver(self, records: Sequence[Record], step: Step) -> None:
        for output in step.outputs:
            cause = records[output.cause]
            self._log.append(output.topic, output.record.symbol, encode(output.record), cause.headers)
        for dead in step.dead:
            cause = records[dead.cause]
            self._log.append(cause.topic + DLQ_SUFFIX, (cause.key or b"").decode(errors="replace"), cause.value)
        self.dead += step.dead
        self.halts |= step.halts
