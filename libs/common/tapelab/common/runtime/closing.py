"""Closing Kafka clients in bounded time, whatever has become of the broker.

The clients' own ``stop`` flushes what was queued and finishes what was asked, which takes for ever without
a broker. Worse, a producer that is left flushing would write outputs of a session that has ended into
whatever log answers next. So what is queued is dropped: whoever needs it written has waited for it.

The client library has no public way to do this; the few private names it takes are used here only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import ProducerClosed

from tapelab.common.runtime.link import cut

#: How long a consumer may take to leave politely, and any client to let go of its tasks.
GRACE_S: Final = 2.0


async def close_producer(producer: AIOKafkaProducer) -> None:
    """End a producer; records that no broker has acknowledged are dropped and their futures fail."""
    accumulator, task = producer._message_accumulator, producer._sender.sender_task
    batches = [*accumulator._pending_batches, *(b for queue in accumulator._batches.values() for b in queue)]
    if task is not None:
        task.cancel()
    accumulator.fail_all(ProducerClosed())
    _cut_all(producer.client)
    if task is not None:
        await ended([task])
    await _bounded(producer.stop())
    held = [*(vars(producer._txn_manager).values() if producer._txn_manager is not None else ())]
    for batch in batches:
        held += [batch.future, batch._drain_waiter]
    for future in held:
        if isinstance(future, asyncio.Future) and future.done() and not future.cancelled():
            future.exception()  # seen, so that nobody logs it as lost


async def close_consumer(consumer: AIOKafkaConsumer, *, lost: bool = False) -> None:
    """End a consumer; a ``lost`` one is not given the time to finish what it asked the broker for."""
    if lost:
        _cut_all(consumer._client)
    if await _bounded(consumer.stop()):
        return
    _cut_all(consumer._client)
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    tasks = [
        getattr(owner, name, None)
        for owner, names in (
            (coordinator, ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")),
            (fetcher, ("_fetch_task",)),
        )
        for name in names
    ]
    tasks += list(getattr(fetcher, "_pending_tasks", ()))
    await ended([task for task in tasks if task is not None])
    await _bounded(consumer._client.close())


def _cut_all(client: Any) -> None:
    if client._sync_task is not None:
        client._sync_task.cancel()
    for connection in list(client._conns.values()):
        cut(connection)


async def ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: the client waits for others when it is cancelled once."""
    left = {task for task in tasks if not task.done()}
    deadline = asyncio.get_running_loop().time() + GRACE_S
    while left and asyncio.get_running_loop().time() < deadline:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=0.2)
        for task in done:
            if not task.cancelled():
                task.exception()  # seen


async def _bounded(work: Coroutine[Any, Any, None]) -> bool:
    """Whether it ended in time; what it failed with is of no use to anybody any more.

    In a task of its own: the client lets the cancellation of its tasks escape to whoever closes it.
    """
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait({task}, timeout=GRACE_S)
    await ended([task])
    return bool(done) and not task.cancelled() and task.exception() is None
