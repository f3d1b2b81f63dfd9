"""Following a ``ticks_raw`` table: what is in it first, then new rows as they come."""

from __future__ import annotations

import asyncio
import contextlib

from tapelab.common.clock import Clock
from tapelab.common.sources.ticks_raw import TicksRaw
from tapelab.ingest.lanes import FLAT_OUT_ROWS, PACED_ROWS, Lanes
from tapelab.ingest.replay import RELEASE_POLL_S, STATUS_NS
from tapelab.ingest.status import Bulletin, ReplayStatus, State, symbols_of


class Follow:
    """One run of a table that fills.

    The rows that were in the table at the start are the first part; the run then waits to be released like
    a tape at its cut, and goes on with new rows. A session ends with the first print of the next one, or
    ``grace_s`` after its close by the wall clock if its prints came before that, that is live.
    """

    def __init__(
        self,
        source: TicksRaw,
        lanes: Lanes,
        bulletin: Bulletin,
        clock: Clock,
        stopping: asyncio.Event,
        *,
        poll_s: float,
        grace_s: float,
        new_log: asyncio.Event | None = None,
    ) -> None:
        self._new_log = new_log or asyncio.Event()
        self._source = source
        self._lanes = lanes
        self._bulletin = bulletin
        self._clock = clock
        self._stopping = stopping
        self._poll_s = poll_s
        self._grace_ns = int(grace_s * 1e9)
        self._state: State = "playing_first"
        self._cut_ns: int | None = None
        self._status_ns = clock.monotonic_ns()
        self._live: dict[str, tuple[int, int]] = {}  # when its session is over, and the close

    async def announce(self) -> None:
        """Replace the status of an earlier run; call it before others are told that this one is up."""
        await self._publish(force=True)

    async def run(self) -> None:
        """Follow until stopped.

        Raises:
            SourceError: the table cannot be read.
        """
        async with contextlib.aclosing(self._source.batches(self._clock, poll_s=self._poll_s)) as batches:
            async for batch in batches:
                if self._stopping.is_set():
                    return
                if self._new_log.is_set():
                    await self._lanes.flush()  # raises what the event stands for
                rows = FLAT_OUT_ROWS if self._state == "playing_first" else PACED_ROWS
                for chunk in batch.chunks:
                    await self._lanes.publish(chunk, rows)
                    lane = self._lanes.lanes[chunk.symbol]
                    left_ns = lane.marks.close_ns - self._clock.now_ns()
                    if left_ns > 0:  # waited for by the monotonic clock: the wall's may be set meanwhile
                        due_ns = self._clock.monotonic_ns() + left_ns + self._grace_ns
                        self._live[chunk.symbol] = (due_ns, lane.marks.close_ns)
                await self._end_live_sessions()
                if batch.caught_up and self._state == "playing_first" and self._lanes.lanes:
                    await self._wait_for_release()
                await self._publish()

    async def _wait_for_release(self) -> None:
        await self._lanes.flush()
        self._cut_ns = self._lanes.ts_event_ns + 1
        await self._enter("waiting")
        while not (self._stopping.is_set() or self._new_log.is_set() or await self._bulletin.released()):
            await self._clock.sleep(RELEASE_POLL_S)
        await self._lanes.flush()  # raises where the log is new
        if self._stopping.is_set():
            return
        await self._enter("following")

    async def _end_live_sessions(self) -> None:
        now_ns = self._clock.monotonic_ns()
        for symbol in [symbol for symbol, (due_ns, _) in self._live.items() if now_ns >= due_ns]:
            _, close_ns = self._live.pop(symbol)
            await self._lanes.passed_one(symbol, close_ns)

    async def _enter(self, state: State) -> None:
        self._state = state
        await self._publish(force=True)

    async def _publish(self, *, force: bool = False) -> None:
        now_ns = self._clock.monotonic_ns()
        if not force and now_ns - self._status_ns < STATUS_NS:
            return
        self._status_ns = now_ns
        summary = self._source.summary()
        await self._bulletin.publish(
            ReplayStatus(
                state=self._state,
                run=self._bulletin.run,
                source=self._source.name,
                lineage=self._source.lineage,
                cut_ts_ns=self._cut_ns,
                symbols=symbols_of(self._lanes),
                ts_event_ns=self._lanes.ts_event_ns,
                rejects=summary.rejects,
                rejects_path=str(summary.rejects_path) if summary.rejects_path is not None else None,
                restarts=self._bulletin.restarts,
                restarted=self._bulletin.restarted,
            )
        )
