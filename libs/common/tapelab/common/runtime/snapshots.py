"""Snapshots in a compacted topic: the one furthest into the input is where recovery begins.

A snapshot is written under ``stage/partition/slot`` with the slot rotating over four, so that a zombie's
late write cannot compact the newest one away. Nor can it be taken for the newest: what counts is how far
into its input a snapshot is, not when it was written.
"""

from __future__ import annotations

import logging
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer

from tapelab.common.errors import RecoveryError
from tapelab.common.runtime.kafka import log_end, read_range, tp
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import qualified, state_topic

SLOTS: Final = 4
_TAIL: Final = 64


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """State of one partition of a stage.

    ``offsets`` are the next input offsets by topic; ``output_ends`` the ends of the output logs by topic
    when it was taken, so that recovery knows from where to look for outputs that are newer. For a
    deciding stage ``state`` is the one *before* its last batch, ``batch_end`` that batch's end and
    ``context`` what it was decided under.
    """

    offsets: dict[str, int]
    output_ends: dict[str, int]
    state: bytes
    batch_end: dict[str, int] = {}
    context: bytes = b""
    number: int = 0
    schema: int = 1

    @property
    def reach(self) -> int:
        """How far into its input it is; offsets of one partition only grow together."""
        return sum((self.batch_end or self.offsets).values())


class Found(NamedTuple):
    """A readable snapshot and its offset in the state topic."""

    snapshot: Snapshot
    offset: int


class Unreadable(NamedTuple):
    """A record under a snapshot's key that is none, said as a sentence, and its offset."""

    message: str
    offset: int


class SnapshotStore:
    """Reads and writes the snapshots of one stage."""

    def __init__(self, stage: str, settings: CommonSettings) -> None:
        self._stage = settings.deployed(stage)
        self._settings = settings
        self.topic = state_topic(stage)

    async def candidates(self, consumer: AIOKafkaConsumer, partition: int) -> tuple[list[Found], list[Unreadable]]:
        """Snapshots of a partition, the one that reaches furthest first, and what could not be read.

        The consumer must be assigned to the state topic's partition.
        """
        where = tp(self._settings, self.topic, partition)
        begin = (await consumer.beginning_offsets([where]))[where]
        end = await log_end(consumer, self._settings, where)
        records = await self._read(consumer, partition, max(begin, end - _TAIL), end)
        if not records and begin < end - _TAIL:
            records = await self._read(consumer, partition, begin, end)
        found, unreadable = [], []
        for record in records:
            try:
                found.append(Found(msgspec.msgpack.decode(record.value or b"", type=Snapshot), record.offset))
            except (msgspec.MsgspecError, RecursionError) as error:
                message = (
                    f"snapshot at {self.topic}[{partition}]@{record.offset} cannot be read: expected a snapshot of "
                    f"this release or an older one, got {error}"
                )
                unreadable.append(Unreadable(message, record.offset))
        found.sort(key=lambda one: (one.snapshot.reach, one.offset), reverse=True)
        return found, unreadable

    async def last_decided(self, consumer: AIOKafkaConsumer, partition: int, log: logging.Logger) -> Snapshot | None:
        """The state record of a deciding stage's last batch, None where nothing was decided.

        Raises:
            RecoveryError: it cannot be read. Without it nobody knows under which models and halts the last
                signals were decided, so no older one will do.
        """
        found, unreadable = await self.candidates(consumer, partition)
        for one in unreadable:
            if not found or one.offset > found[0].offset:
                raise RecoveryError(
                    "the state of the last decisions cannot be read",
                    expected="the record that says under which models and halts they were made",
                    actual=one.message,
                    remedy="go back to the release that wrote it, or start under a new TAPELAB_NAMESPACE",
                )
            log.warning(f"not needed, a newer one is there: {one.message}")
        return found[0].snapshot if found else None

    async def _read(self, consumer: AIOKafkaConsumer, partition: int, first: int, end: int) -> list[Record]:
        prefix = f"{self._stage}/{partition}/".encode()
        found = await read_range(consumer, self._settings, self.topic, partition, first, end)
        return [r for r in found if r.value and r.key and r.key.startswith(prefix)]

    async def write(self, producer: Any, partition: int, snapshot: Snapshot) -> Any:
        """Queue a snapshot; returns the future of its acknowledgement."""
        key = f"{self._stage}/{partition}/{snapshot.number % SLOTS}"
        return await producer.send(
            qualified(self._settings.namespace, self.topic),
            msgspec.msgpack.encode(snapshot),
            key=key.encode(),
            partition=partition,
        )
