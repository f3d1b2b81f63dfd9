"""The gateway's background work: reading the topics and keeping what is shown up to date."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import msgspec

from tapelab.api import ws
from tapelab.api.deps import Deps
from tapelab.api.letters import DeadLetters
from tapelab.api.metrics import ApiMetrics
from tapelab.common.runtime.outage import Stopped
from tapelab.common.runtime.stage import Record

STATUS_S: Final = 1.0
SERVICES_S: Final = 2.0
HEARTBEAT_S: Final = 2.0
POINTERS_S: Final = 5.0
EXPERIMENTS_S: Final = 1.0
_SETTLE_S: Final = 0.1
_RETRY_S: Final = 2.0
#: Records taken without letting requests through in between; 2000 held the event loop for up to 53 ms of computing.
_BATCH: Final = 400


class Reader(Protocol):
    """What the gateway needs of a topic reader. ``restarts`` counts how often it began at the beginning again."""

    restarts: int

    async def poll(self, timeout_s: float = 0.2, max_records: int = 5000) -> list[Record]:
        """The next records."""
        ...

    async def lag(self) -> int:
        """Records not read yet."""
        ...


OpenReader = Callable[[], AbstractAsyncContextManager[Reader]]


class Gateway:
    """Runs what happens without a request.

    Args:
        open_reader: a reader of :data:`tapelab.api.live.READ` from the start of the log.
        ready: is told why the gateway is not ready, or ``None``.
        letters: sends the poison of the topics that the gateway reads first.
    """

    def __init__(
        self,
        deps: Deps,
        metrics: ApiMetrics,
        open_reader: OpenReader,
        ready: Callable[[str | None], None],
        letters: DeadLetters,
    ) -> None:
        self._deps = deps
        self._metrics = metrics
        self._open_reader = open_reader
        self._ready = ready
        self._letters = letters
        self._failing: set[str] = set()
        self._stopping = False
        self._changed = asyncio.Event()  # an experiment's event came: look at the table at once

    async def run(self) -> None:
        """Work until cancelled; call :meth:`stop` before cancelling."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed())
            tasks.create_task(self._experiments())
            for seconds, work in (
                (STATUS_S, self._status),
                (SERVICES_S, self._deps.status.refresh_services),
                (HEARTBEAT_S, self._heartbeat),
                (POINTERS_S, self._halts_and_pointers),
            ):
                tasks.create_task(self._every(seconds, work))

    def stop(self) -> None:
        """End every loop after its running step: a client library may swallow a single cancellation."""
        self._stopping = True

    def take(self, records: Sequence[Record]) -> None:
        """Take records and tell whoever watches."""
        deps = self._deps
        fresh = deps.live.take(records, deps.clock.now_ns())
        self._letters.add(fresh.poison)
        for topic, count in Counter(record.topic for record in records).items():
            self._metrics.records.labels(topic).inc(count)
        for latency_ms in fresh.latencies_ms:
            self._metrics.latency.observe(latency_ms / 1e3)
        for hop_ms in fresh.hops_ms:
            self._metrics.hop.observe(hop_ms / 1e3)
        channel = deps.hub.find(ws.SIGNALS)
        if channel is not None:
            for item in fresh.signals:
                channel.push(msgspec.json.encode(item))
        page_spec = deps.live.page_spec
        for symbol, spec in sorted(fresh.restarted):
            if spec == page_spec:
                ws.bars_channel(deps, symbol).restart()
        for symbol, spec, item in fresh.bars:
            # A snapshot that was just sent holds these bars already.
            if spec == page_spec and (symbol, spec) not in fresh.restarted:
                ws.bars_channel(deps, symbol).push(msgspec.json.encode(item))
        if fresh.subjects:
            self._changed.set()

    async def _feed(self) -> None:
        """Read from the start of the log, and again after a failure: what was seen is dropped."""
        while not self._stopping:
            try:
                await self._read()
            except Stopped:
                return
            except Exception as error:
                self._deps.live.begin_again()
                self._letters.begin_again()
                self._ready(f"cannot read the topics: {type(error).__name__}: {error}")
                self._deps.log.exception("reading failed; trying again in %g s", _RETRY_S)
            await self._deps.clock.sleep(_RETRY_S)

    async def _read(self) -> None:
        async with self._open_reader() as reader:
            restarts = reader.restarts
            behind = await reader.lag()
            self._ready(f"reading the log: {behind} records to go" if behind else None)
            while not self._stopping:
                records = await reader.poll(0.2, _BATCH)
                if reader.restarts != restarts:
                    restarts = reader.restarts
                    self._deps.live.begin_again()
                    self._letters.begin_again()
                self.take(records)
                if behind > 0:
                    # Control records of transactions count as lag but are never returned.
                    behind = behind - len(records) if records else 0
                    self._ready(f"reading the log: {behind} records to go" if behind > 0 else None)
                if behind <= 0:
                    await self._letters.flush()
                await asyncio.sleep(0)

    async def _every(
        self,
        seconds: float,
        work: Callable[[], Awaitable[None]],
        wait: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        name = getattr(work, "__name__", str(work)).strip("_")
        while not self._stopping:
            try:
                await work()
                self._failing.discard(name)
            except Exception:
                if name not in self._failing:  # once per outage, not once per second
                    self._failing.add(name)
                    self._deps.log.exception("%s failed; trying again every %g s", name, seconds)
            await (wait or self._deps.clock.sleep)(seconds)

    async def _status(self) -> None:
        await self._deps.status.refresh_stores()
        self._metrics.clients.set(len(self._deps.hub.clients))
        channel = self._deps.hub.find(ws.DATA)
        if channel is not None and channel.subscribers:
            channel.push(channel.data())

    async def _experiments(self) -> None:
        """Look at the table of experiments every second, and soon after an event."""

        async def wait(seconds: float) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            await self._deps.clock.sleep(_SETTLE_S)  # a burst of events is one look
            self._changed.clear()

        await self._every(EXPERIMENTS_S, self._deps.experiments.refresh, wait)

    async def _heartbeat(self) -> None:
        self._deps.hub.heartbeat(self._deps.clock.now_ns())

    async def _halts_and_pointers(self) -> None:
        """Rebuild what Redis lost: halts first, so that nobody finds a model and not the halt that holds for it."""
        done = await self._deps.halts.sync()
        if done:
            self._deps.log.warning("halts brought together", extra={"fields": {"done": done}})
        changed = await self._deps.registry.rebuild_redis()
        if changed:
            self._deps.log.warning(
                "Redis had lost model pointers; restored from PostgreSQL",
                extra={"fields": {"pointers": [f"{p.role} of {p.symbol}: {p.model_id}" for p in changed]}},
            )
