"""Which partitions a host owns, and how it gets and loses them.

Where the broker's groups work they decide, with static membership; elsewhere, and wherever
``TAPELAB_OWNED_PARTITIONS`` is set, partitions are assigned by hand. Offsets are committed under the group
either way, so that lag can be read from outside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from tapelab.common.errors import RecoveryError
from tapelab.common.runtime.capabilities import capabilities
from tapelab.common.runtime.closing import close_consumer
from tapelab.common.runtime.kafka import CLIENT_TIMEOUT_S, Unavailable, log_end, new_consumer, owned_partitions, tp
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import qualified

OnChange = Callable[[Sequence[int]], Awaitable[None]]


class PartitionOwner:
    """Subscribes or assigns for one session, and tells the host which partitions come and go.

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
        #: Whether it is settled which partitions are owned, and all of them are recovered.
        self.settled = False
        self.failure: BaseException | None = None
        self.consumer: AIOKafkaConsumer = new_consumer(settings, group=group)

    async def start(self) -> None:
        """Connect and get the first partitions (a group may hand them out later)."""
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            await self.consumer.start()
        by_hand = owned_partitions(self._settings)
        if by_hand:
            self.consumer.assign([tp(self._settings, t, p) for t in self._topics for p in by_hand])
            async with self.lock:
                await self._gained(by_hand)
            self.settled = True
        else:
            self.consumer.subscribe(
                [qualified(self._settings.namespace, t) for t in self._topics], listener=_Listener(self)
            )

    async def stop(self, *, lost: bool) -> None:
        """Give up the partitions, in a hurry where the broker is ``lost``."""
        await close_consumer(self.consumer, lost=lost)

    async def seek(self, helper: AIOKafkaConsumer, partition: int, offsets: Mapping[str, int] | None) -> dict[str, int]:
        """Move to a snapshot's offsets, or to the logs' starts; returns where.

        The helper must be assigned to the partition of every topic.

        Raises:
            RecoveryError: a log does not reach to its offset.
        """
        able = capabilities(self._settings)
        moved: dict[str, int] = {}
        for topic in self._topics:
            where = tp(self._settings, topic, partition)
            begin = (await helper.beginning_offsets([where]))[where]
            moved[topic] = begin if offsets is None else offsets[topic]
            end = await log_end(helper, self._settings, where)
            if moved[topic] > end and not able.durable:
                # Input and snapshots live and die together there: the answer is late, not the log short.
                raise Unavailable(
                    f"{topic}[{partition}] is not to be read yet",
                    expected=f"a log up to offset {moved[topic]} at least",
                    actual=f"one that ends at {end}",
                    remedy="look at the broker's log if this goes on",
                )
            if not begin <= moved[topic] <= end:
                raise RecoveryError(
                    f"cannot recover {self._group} partition {partition}",
                    expected=f"{topic} to hold offset {moved[topic]} of the snapshot",
                    actual=f"a log from {begin} to {end}",
                    remedy="start a new stream from the source under a new TAPELAB_NAMESPACE, or restore the topic",
                )
            self.consumer.seek(where, moved[topic])
        return moved

    def return_to(self, partition: int, offsets: Mapping[str, int]) -> None:
        """Read on from these offsets, whatever has been read."""
        for topic, offset in offsets.items():
            self.consumer.seek(tp(self._settings, topic, partition), offset)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit under the group, for whoever watches lag; recovery reads snapshots instead.

        A commit that a rebalance overtakes is left out: the next owner commits.

        Raises:
            TimeoutError: no coordinator took it.
        """
        if not offsets:
            return
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                await self.consumer.commit(dict(offsets))
        except (CommitFailedError, IllegalStateError) as error:
            self._log.info(f"offsets not committed: {error}")

    async def changed(self, partitions: set[TopicPartition], change: OnChange) -> bool:
        """Run a change under the lock; a failure there must reach the host, not the client's log."""
        try:
            async with self.lock:
                await change(sorted({where.partition for where in partitions}))
        except Exception as error:
            self.failure = error
            return False
        return True

    async def on_gained(self, partitions: set[TopicPartition]) -> None:
        """The group handed out partitions (none, where there are more members than partitions)."""
        self.generation += 1
        self.settled = await self.changed(partitions, self._gained)

    async def on_lost(self, partitions: set[TopicPartition]) -> None:
        """The group takes partitions away."""
        self.settled = False
        await self.changed(partitions, self._lost)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, owner: PartitionOwner) -> None:
        self._owner = owner

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._owner.on_gained(assigned)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._owner.on_lost(revoked)
