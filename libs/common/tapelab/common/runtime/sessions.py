"""Sessions with a broker: each ends with the broker, the process goes on to the next.

A session connects, recovers from the log and works. When the broker is lost, or a write to it fails, the
session ends: partitions are given up, clients are closed, state is forgotten. The next one begins when the
broker answers, and takes everything from the log, so nothing but the log carries over.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from tapelab.common.errors import TapelabError
from tapelab.common.runtime.backoff import Backoff
from tapelab.common.runtime.kafka import LOST
from tapelab.common.runtime.link import UNREACHABLE, BrokerLink
from tapelab.common.runtime.service import ServiceContext

#: A broker that is gone must not keep the service from stopping; recovery replays what no snapshot holds.
STOP_S: Final = 4.0
#: How long a session may take to close its clients before the process gives up on itself.
CLOSE_S: Final = 20.0
#: A session that worked for so long was no mistake: the next trouble is a new one.
SETTLED_S: Final = 5.0


class Sessions:
    """Runs ``work`` again and again until the service is told to stop.

    ``work`` ends by itself soon after ``ctx.stopping`` is set, calls :meth:`ready` when it can do its work,
    and closes in bounded time what it has opened, also when it is cancelled.
    """

    def __init__(self, ctx: ServiceContext, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._ctx = ctx
        self._work = work
        self._backoff = Backoff(random.Random(f"{ctx.name}/{ctx.settings.instance}"))
        self._outage: str | None = None
        self._said: set[str] = set()
        self._ready_ns: int | None = None

    async def run(self) -> None:
        """Work until told to stop.

        Raises:
            TapelabError: what no waiting mends (a configuration, a state that cannot be continued from).
        """
        stopping = asyncio.create_task(self._ctx.stopping.wait())
        try:
            while not stopping.done():
                self._ready_ns = None
                link = BrokerLink(self._ctx.settings)
                try:
                    reason = await self._session(link, stopping)
                finally:
                    link.close()
                if reason is None:
                    return
                self._lost(reason)
                pause = asyncio.ensure_future(self._ctx.clock.sleep(self._backoff.next_s()))
                await asyncio.wait({pause, stopping}, return_when=asyncio.FIRST_COMPLETED)
                pause.cancel()
        finally:
            stopping.cancel()

    def ready(self, detail: str = "") -> None:
        """The session works: its state is restored."""
        clock = self._ctx.clock
        if self._ready_ns is None:
            self._ready_ns = clock.monotonic_ns()
        if self._outage is not None:
            self._ctx.log.info(f"working again after: {self._outage}")
            self._outage = None
        self._ctx.ready(detail=detail)

    def owns(self, partitions: Sequence[int] | None) -> None:
        """Say which partitions are owned and recovered; None while that is not settled."""
        if partitions is None:
            self._ctx.ready("waiting for partitions and their state")
        elif partitions:
            self.ready()
        else:
            self.ready("standing by: the group has no partition for this replica")

    async def _session(self, link: BrokerLink, stopping: asyncio.Task[Any]) -> str | None:
        """One session; why it ended, None when the service was told to stop."""
        if self._outage is None and not self._said:
            self._ctx.ready(f"connecting to the broker at {self._ctx.settings.broker}")
        opening = asyncio.create_task(link.open())
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening})
            return None
        if (reason := opening.result()) is not None:
            return reason
        self._ctx.answered("broker")
        working: asyncio.Task[Any] = asyncio.create_task(self._work())
        watching: asyncio.Task[Any] = asyncio.create_task(link.watch())
        try:
            await asyncio.wait({working, watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                await asyncio.wait({working, watching}, timeout=STOP_S, return_when=asyncio.FIRST_COMPLETED)
            else:
                self._ctx.ready("the session with the broker has ended")  # closing takes its time
        finally:
            lost = watching.done()
            watching.cancel()
            await self._ended(working)
        return await self._outcome(working, link, watching.result() if lost else None, stopping.done())

    async def _ended(self, working: asyncio.Task[Any]) -> None:
        working.cancel()
        await asyncio.wait({working}, timeout=CLOSE_S)
        if not working.done():
            raise TapelabError(
                "the work of a lost broker does not end",
                expected=f"its clients to close within {CLOSE_S:g} s",
                actual="something that waits without end",
                remedy="restart the process",
            )

    async def _outcome(
        self, working: asyncio.Task[Any], link: BrokerLink, lost: str | None, stopping: bool
    ) -> str | None:
        error = None if working.cancelled() else working.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is None or (stopping and isinstance(error, LOST)):
            return None if stopping else lost or "the work ended by itself"
        # An error is often the first to tell of a lost broker; and what looks like a broken state may be a log
        # that was swapped under the reader.
        if lost is None and isinstance(error, (*LOST, TapelabError)):
            lost = await link.asked()
        if lost is not None:
            return lost
        if isinstance(error, LOST):
            return f"{type(error).__name__}: {error}"
        raise error

    def _lost(self, reason: str) -> None:
        """Say so, once per reason; trouble that comes soon after work began is the same trouble."""
        clock = self._ctx.clock
        if self._ready_ns is not None and clock.monotonic_ns() - self._ready_ns >= SETTLED_S * 1e9:
            self._backoff.reset()
            self._said.clear()
        self._outage = reason
        if UNREACHABLE in reason:
            self._ctx.ready("nothing is recovered")
            self._ctx.waiting("broker", reason)
        else:
            self._ctx.ready(f"no session with the broker: {reason}")
        about = UNREACHABLE if UNREACHABLE in reason else reason
        if about not in self._said:
            self._said.add(about)
            what = "the broker is lost" if about is UNREACHABLE else "the session with the broker failed"
            self._ctx.log.warning(f"{what}, trying again until it works: {reason}")
