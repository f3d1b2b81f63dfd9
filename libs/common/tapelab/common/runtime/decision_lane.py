"""One partition of a deciding stage: its state, its producer, and how a batch is written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition

from tapelab.common.runtime.halted import HaltedSymbols
from tapelab.common.runtime.kafka import CLIENT_TIMEOUT_S
from tapelab.common.runtime.snapshots import Snapshot, SnapshotStore
from tapelab.common.runtime.stage import DecisionStage, Record
from tapelab.common.runtime.writer import Prepared, Sent, StepWriter, drop


class Decided(NamedTuple):
    """A batch of one partition, ready to be written."""

    lane: DecisionLane
    records: Sequence[Record]
    snapshot: Snapshot
    made: Prepared


class DecisionLane:
    """One partition at work.

    Args:
        partition: its number.
        stage: restored to ``offset``.
        writer: knows what the output log holds already.
        halted: symbols that have stopped.
        producer: of this partition alone; on a broker with transactions it has fenced every other one.
    """

    def __init__(
        self,
        partition: int,
        stage: DecisionStage,
        writer: StepWriter,
        halted: HaltedSymbols,
        producer: AIOKafkaProducer,
        snapshots: SnapshotStore,
    ) -> None:
        self.partition = partition
        self.stage = stage
        self.writer = writer
        self.halted = halted
        self.offset = 0
        self.number = 0
        self.finishing = asyncio.Event()
        self._producer = producer
        self._snapshots = snapshots

    async def write_transaction(
        self, decided: Decided, where: TopicPartition, group: str, *, state: bool = True
    ) -> None:
        """State record, outputs and input offset, visible together or not at all.

        Not the client's context manager: on a failure it aborts, which waits for a broker that may be gone.
        Whoever owns the partition next fences this producer, and that aborts what it left open.

        Raises:
            KafkaError, TimeoutError: it is unknown whether it was written; recovery finds out.
        """
        sent: list[Sent] = []
        state_written: Any = None
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await self._producer.begin_transaction()
                if state:
                    state_written = await self._snapshots.write(self._producer, self.partition, decided.snapshot)
                sent = await self.writer.write(self._producer, decided.records, decided.made)
                end = decided.records[-1].offset + 1
                await self._producer.send_offsets_to_transaction({where: end}, group)
                await self._producer.commit_transaction()
            await self.writer.acknowledged(sent)
        finally:
            drop(sent)
            if state_written is not None:
                state_written.cancel()

    async def write_in_order(self, decided: Decided, *, state: bool = True) -> None:
        """State record, then outputs, each acknowledged before the next: for brokers without transactions.

        Raises:
            KafkaError, TimeoutError: it is unknown what was written; recovery finds out.
        """
        if state:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await (await self._snapshots.write(self._producer, self.partition, decided.snapshot))
        await self.writer.acknowledged(await self.writer.write(self._producer, decided.records, decided.made))
