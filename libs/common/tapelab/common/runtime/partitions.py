"""Which partitions a host owns, and how it gets and loses them.

Where the broker's groups work they decide, with static membership; elsewhere, and wherever
``TAPELAB_OWNED_PARTITIONS`` is set, partitions are assigned by hand. Offsets are committed under the group
either way, so that lag can be read from outside.

Each owned partition has a task of its own, its lane. A partition is read once its lane has recovered, and
is given back once its lane has ended: nothing of it is written later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, NoOffsetForPartitionError

from tapelab.common.errors import RecoveryError
from tapelab.common.runtime.capabilities import capabilities
from tapelab.common.runtime.closing import close_consumer, ended
from tapelab.common.runtime.kafka import CLIENT_TIMEOUT_S, Unavailable, log_end, new_consumer, owned_partitions, tp
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import qualified

#: How long a lane may take to finish what it has begun, when its partition goes to another member or the service
#: stops. The group waits for it (SESSION_MS); who is slower leaves the rest to the next owner's recovery.
FINISH_S: Final = 3.0
#: A group that forms takes a session timeout at most; one that hands out nothing for so long is stuck.
GROUP_S: Final = 60.0
_LOOK_S: Final = 5.0
#: A commit that takes longer means that no broker takes part in the group.
COMMIT_S: Final = 10.0


class PartitionOwner:
    """Subscribes or assigns for one session, and keeps a lane for each partition it owns.

    Args:
        settings: of the service.
        group: the consumer group, without the namespace.
        topics: read with the same partition numbers each.
        lane: the life of a partition; it calls :meth:`recovered` when records may come, and ends soon after the
            function it gave there is called.
        left: called when the lanes of partitions have ended, before others get them.
        owns: told which partitions are owned and recovered, None while that is not settled.
    """

    def __init__(
        self,
        settings: CommonSettings,
        group: str,
        topics: Sequence[str],
        lane: Callable[[int], Coroutine[Any, Any, None]],
        left: Callable[[Sequence[int]], Coroutine[Any, Any, None]],
        owns: Callable[[Sequence[int] | None], None],
    ) -> None:
        self._settings = settings
        self._group = group
        self._topics = topics
        self._log = logging.getLogger(f"tapelab.{group}")
        self._lane = lane
        self._left = left
        self._owns = owns
        self._lanes: dict[int, asyncio.Task[None]] = {}
        self._finish: dict[int, Callable[[], None]] = {}
        self._assigned = False
        self._committing: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure.add_done_callback(lambda failure: failure.cancelled() or failure.exception())
        self.consumer: AIOKafkaConsumer = new_consumer(settings, group=group)

    async def start(self) -> None:
        """Connect and get the first partitions (a group may hand them out later)."""
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            await self.consumer.start()
        by_hand = owned_partitions(self._settings)
        if by_hand:
            self.consumer.assign([where for p in by_hand for where in self._all(p)])
            self._own(by_hand)
        else:
            self.consumer.subscribe(
                [qualified(self._settings.namespace, t) for t in self._topics], listener=_Listener(self)
            )

    async def stop(self, *, lost: bool) -> None:
        """Leave the group, in a hurry where the broker is ``lost``."""
        await close_consumer(self.consumer, lost=lost)
        await ended(self._committing)

    async def failed(self) -> None:
        """Wait for ever, or until it is certain that this cannot go on.

        Raises:
            Unavailable: the group hands out no partitions.
            Exception: what a lane failed with.
        """
        waits = 0
        while not self._failure.done():
            waits = 0 if self._assigned else waits + 1
            if waits > GROUP_S / _LOOK_S:
                raise Unavailable(
                    f"the consumer group {self._group} hands out no partitions",
                    expected=f"an assignment within {GROUP_S:g} s",
                    actual="none, not even an empty one",
                    remedy="look at the broker's log and at the group's other members",
                )
            await asyncio.wait([self._failure], timeout=_LOOK_S)
        self._failure.result()

    async def read(self, max_records: int, wait_ms: int) -> dict[TopicPartition, list[Any]]:
        """What was read of the partitions whose lanes have recovered; empty after a wait without any.

        Raises:
            KafkaError: the log does not hold what is to be read next, or the group is not to be joined.
        """
        try:
            got: dict[TopicPartition, list[Any]] = await self.consumer.getmany(
                timeout_ms=wait_ms, max_records=max_records
            )
        except NoOffsetForPartitionError:
            return {}  # of before its lane's seek
        return {where: messages for where, messages in got.items() if where.partition in self._finish}

    def pause(self, partition: int) -> None:
        """Read no more of a partition for now."""
        self.consumer.pause(*self._all(partition))

    def resume(self, partition: int) -> None:
        """Read on, if it is still owned."""
        assigned = self.consumer.assignment()
        self.consumer.resume(*(where for where in self._all(partition) if where in assigned))

    async def seek(self, helper: AIOKafkaConsumer, partition: int, offsets: Mapping[str, int] | None) -> dict[str, int]:
        """Move to a snapshot's offsets, or to the logs' starts; returns where.

        The helper must be assigned to the partition of every topic.

        Raises:
            RecoveryError: a log does not reach to its offset.
        """
        moved: dict[str, int] = {}
        for topic in self._topics:
            where = tp(self._settings, topic, partition)
            begin = (await helper.beginning_offsets([where]))[where]
            moved[topic] = begin if offsets is None else offsets[topic]
            self._check(topic, partition, begin, moved[topic], await log_end(helper, self._settings, where))
            self.consumer.seek(where, moved[topic])
        return moved

    def _check(self, topic: str, partition: int, begin: int, wanted: int, end: int) -> None:
        if wanted > end and not capabilities(self._settings).durable:
            # Input and snapshots live and die together there: the answer is late, not the log short.
            raise Unavailable(
                f"{topic}[{partition}] is not to be read yet",
                expected=f"a log up to offset {wanted} at least",
                actual=f"one that ends at {end}",
                remedy="look at the broker's log if this goes on",
            )
        if not begin <= wanted <= end:
            raise RecoveryError(
                f"cannot recover {self._group} partition {partition}",
                expected=f"{topic} to hold offset {wanted} of the snapshot",
                actual=f"a log from {begin} to {end}",
                remedy="start a new stream from the source under a new TAPELAB_NAMESPACE, or restore the topic",
            )

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit under the group, for whoever watches lag; recovery reads snapshots instead.

        A commit that a rebalance overtakes is left out: the next owner commits.

        Raises:
            TimeoutError: no coordinator took it.
        """
        if not offsets:
            return
        committing = asyncio.create_task(self.consumer.commit(dict(offsets)))
        self._committing.add(committing)
        committing.add_done_callback(self._committed)
        try:
            async with asyncio.timeout(COMMIT_S):
                # Shielded: cancelled in the middle of a request the client would report that request as lost.
                await asyncio.shield(committing)
        except (CommitFailedError, IllegalStateError) as error:
            self._log.info(f"offsets not committed: {error}")

    def _committed(self, committing: asyncio.Task[None]) -> None:
        self._committing.discard(committing)
        if not committing.cancelled():
            committing.exception()  # seen by whoever waited, if anybody still does

    def recovered(self, partition: int, finish: Callable[[], None]) -> None:
        """A lane can take records; ``finish`` asks it to end."""
        self._finish[partition] = finish
        self.resume(partition)
        self._say()

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """The group hands out partitions (none, where it has more members than partitions)."""
        try:
            self._own(partitions)
        except Exception as error:  # it must reach the host; the client would log it and go on
            self._fail(error)

    def _own(self, partitions: Sequence[int]) -> None:
        self._assigned = True
        for partition in partitions:
            self.pause(partition)
            lane = asyncio.create_task(self._lane(partition), name=f"{self._group}-{partition}")
            lane.add_done_callback(self._ended)
            self._lanes[partition] = lane
        self._say()

    async def give_up(self) -> None:
        """End all lanes: each finishes the chunk it works on if that does not take long, the rest is dropped.

        A lane that had to be stopped may have outputs on the way; they must not come after the partition's next
        owner's, so the session ends with it.
        """
        lanes = dict(self._lanes)
        if not lanes:
            return
        self._owns(None)
        working = {partition: lane for partition, lane in lanes.items() if partition in self._finish}
        for partition, lane in lanes.items():
            if partition in working:
                self._finish.pop(partition)()
            else:
                lane.cancel()  # it still recovers, so nothing of it is on the way
        await asyncio.wait(lanes.values(), timeout=FINISH_S)
        stopped = sorted(partition for partition, lane in working.items() if not lane.done())
        await self.abandon()
        if stopped:
            self._fail(
                Unavailable(
                    f"partitions {stopped} of {self._group} were given up in the middle of work",
                    expected=f"their outputs to be acknowledged within {FINISH_S:g} s",
                    actual="outputs that are still on the way",
                    remedy="nothing is lost, their next owner writes them; look at the broker's load if this goes on",
                )
            )
        await self._left(sorted(lanes))

    async def abandon(self) -> None:
        """End all lanes where they are."""
        lanes, self._lanes = self._lanes, {}
        self._finish.clear()
        for lane in lanes.values():
            lane.cancel()
        await asyncio.gather(*lanes.values(), return_exceptions=True)

    async def on_lost(self) -> None:
        """The group takes all partitions back, to hand them out anew."""
        self._assigned = False
        try:
            await self.give_up()
        except Exception as error:  # as above
            self._fail(error)

    def _ended(self, lane: asyncio.Task[None]) -> None:
        if not lane.cancelled() and (error := lane.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not self._failure.done():
            self._failure.set_exception(error)

    def _say(self) -> None:
        self._owns(sorted(self._lanes) if self._lanes.keys() == self._finish.keys() else None)

    def _all(self, partition: int) -> list[TopicPartition]:
        return [tp(self._settings, topic, partition) for topic in self._topics]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, owner: PartitionOwner) -> None:
        self._owner = owner

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._owner.on_assigned(sorted({where.partition for where in assigned}))

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._owner.on_lost()
