"""Which partitions a host owns, and how it gets and loses them.

On Apache Kafka the consumer group decides, with static membership; on the embedded broker, whose groups
take half a session timeout to form, and wherever ``TAPELAB_OWNED_PARTITIONS`` is set, they are assigned
by hand. Offsets are committed under the group either way, so that lag can be read from outside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from tapelab.common.errors import RecoveryError
from tapelab.common.runtime.kafka import new_consumer, owned_partitions, tp
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import qualified

OnChange = Callable[[Sequence[int]], Awaitable[None]]


class PartitionOwner:
    """Subscribes or assigns, and tells the host which partitions come and go.

    ``gained`` and ``lost`` run under ``lock``, which the host holds while it works on records.
    """

    def __init__(
        self, settings: CommonSettings, group: str, topics: Sequence[str], gained: OnChange, lost: OnChange
    ) -> None:
        self._settings = settings
        self._group = group
        self._topics = topics
        self._log = logging.getLogger(f"tapelab.{group}")
        self._gained = gained
        self._lost = lost
        self.lock = asyncio.Lock()
        #: Grows when partitions are gained: what was read before is from positions that no longer hold.
        self.generation = 0
        self.failure: BaseException | None = None
        self.consumer: AIOKafkaConsumer = new_consumer(settings, group=group)

    async def start(self) -> None:
        """Connect and get the first partitions (a group may hand them out later)."""
        await self.consumer.start()
        by_hand = owned_partitions(self._settings)
        if by_hand:
            self.consumer.assign([tp(self._settings, t, p) for t in self._topics for p in by_hand])
            async with self.lock:
                await self._gained(by_hand)
        else:
            self.consumer.subscribe(
                [qualified(self._settings.namespace, t) for t in self._topics], listener=_Listener(self)
            )

    async def stop(self) -> None:
        """Leave."""
        await self.consumer.stop()

    async def seek(self, partition: int, offsets: Mapping[str, int] | None) -> dict[str, int]:
        """Move to a snapshot's offsets, or to the logs' starts; returns where.

        Raises:
            RecoveryError: a log starts above its offset.
        """
        moved: dict[str, int] = {}
        for topic in self._topics:
            where = tp(self._settings, topic, partition)
            begin = (await self.consumer.beginning_offsets([where]))[where]
            moved[topic] = begin if offsets is None else offsets[topic]
            if moved[topic] < begin:
                raise RecoveryError(
                    f"cannot recover {self._group} partition {partition}",
                    expected=f"{topic} to reach back to offset {moved[topic]} of the snapshot",
                    actual=f"a log that starts at {begin}",
                    remedy="start a new stream from the source, or restore the topic",
                )
            self.consumer.seek(where, moved[topic])
        return moved

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit under the group, for whoever watches lag; recovery reads snapshots instead.

        A commit that a rebalance overtakes is left out: the next owner commits.
        """
        if not offsets:
            return
        try:
            await self.consumer.commit(dict(offsets))
        except (CommitFailedError, IllegalStateError) as error:
            self._log.info(f"offsets not committed: {error}")

    async def changed(self, partitions: set[TopicPartition], change: OnChange) -> None:
        """Run a change under the lock; a failure there must reach the host, not the client's log."""
        numbers = sorted({where.partition for where in partitions})
        if not numbers:
            return
        try:
            async with self.lock:
                await change(numbers)
        except Exception as error:
            self.failure = error

    async def on_gained(self, partitions: set[TopicPartition]) -> None:
        """The group handed out partitions."""
        self.generation += 1
        await self.changed(partitions, self._gained)

    async def on_lost(self, partitions: set[TopicPartition]) -> None:
        """The group takes partitions away."""
        await self.changed(partitions, self._lost)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, owner: PartitionOwner) -> None:
        self._owner = owner

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._owner.on_gained(assigned)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._owner.on_lost(revoked)
