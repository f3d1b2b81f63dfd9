"""Playing a tape: the first part flat out, a wait at the cut, the rest by the tape's own clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Final

from tapelab.common.clock import Clock
from tapelab.common.sources.merge import MINUTE_NS
from tapelab.common.sources.protocol import Tape, TapeSlice
from tapelab.ingest.lanes import FLAT_OUT_ROWS, PACED_ROWS, Lanes
from tapelab.ingest.pace import Pacer, finer
from tapelab.ingest.status import Bulletin, ReplayStatus, State, symbols_of

STATUS_NS: Final = 250_000_000
RELEASE_POLL_S: Final = 0.05


class Replay:
    """One run of a tape.

    Args:
        tape: what is played.
        cut_ns: event time at which the second part begins; None plays everything at ``speed``.
        speed: of the second part; None is flat out.
        pace_ns: wall time between two paced publishings.
        max_gap_ns: see :class:`~tapelab.ingest.pace.Pacer`.
        stopping: ends the run early.
        new_log: set when what was published is gone; publishing then fails, and so does waiting at the cut.
        resume_ns: the second part goes out flat out up to this event time: it was played before, under another stream.
    """

    def __init__(
        self,
        tape: Tape,
        lanes: Lanes,
        bulletin: Bulletin,
        clock: Clock,
        stopping: asyncio.Event,
        *,
        cut_ns: int | None,
        speed: float | None,
        pace_ns: int = 25_000_000,
        max_gap_ns: int = MINUTE_NS,
        resume_ns: int = 0,
        new_log: asyncio.Event | None = None,
    ) -> None:
        self._resume_ns = resume_ns
        self._new_log = new_log or asyncio.Event()
        self._tape = tape
        self._lanes = lanes
        self._bulletin = bulletin
        self._clock = clock
        self._stopping = stopping
        self._cut_ns = cut_ns
        self._speed = speed
        self._step_ns = max(1_000_000, int(pace_ns * speed)) if speed is not None else 0
        self._max_gap_ns = max_gap_ns
        self._state: State = "playing_first" if cut_ns is not None else "playing_rest"
        self._status_ns = clock.monotonic_ns()

    async def announce(self) -> None:
        """Replace the status of an earlier run; call it before others are told that this one is up."""
        await self._publish(force=True)

    async def run(self) -> None:
        """Play to the end, or until stopped."""
        pacer: Pacer | None = None
        # The grid of slices is a minute, and so is that of the cut: no slice holds prints of both parts.
        async with contextlib.aclosing(_in_thread(self._tape.slices(MINUTE_NS))) as slices:
            async for part in slices:
                if self._state == "playing_first" and self._cut_ns is not None and part.end_ns > self._cut_ns:
                    await self._wait_at_the_cut(self._cut_ns)
                if self._stopping.is_set():
                    return
                if self._state == "playing_first" or self._speed is None or part.end_ns <= self._resume_ns:
                    await self._publish_slice(part, FLAT_OUT_ROWS)
                    continue
                pacer = pacer or Pacer(self._clock, self._speed, self._max_gap_ns)
                for step in finer(part, self._step_ns):
                    await pacer.until(step.end_ns)
                    if self._stopping.is_set():
                        return
                    await self._publish_slice(step, PACED_ROWS)
        await self._lanes.end()
        await self._enter("done")

    async def _publish_slice(self, part: TapeSlice, rows: int) -> None:
        for chunk in part.chunks:
            await self._lanes.publish(chunk, rows)
        await self._lanes.passed(part.end_ns)
        await self._publish()

    async def _wait_at_the_cut(self, cut_ns: int) -> None:
        await self._lanes.passed(cut_ns)
        await self._lanes.flush()
        await self._enter("waiting")
        while not (self._stopping.is_set() or self._new_log.is_set() or await self._bulletin.released()):
            await self._clock.sleep(RELEASE_POLL_S)
        await self._lanes.flush()  # raises where the log is new
        if self._stopping.is_set():
            return
        await self._enter("playing_rest")

    async def _enter(self, state: State) -> None:
        self._state = state
        await self._publish(force=True)

    async def _publish(self, *, force: bool = False) -> None:
        now_ns = self._clock.monotonic_ns()
        if not force and now_ns - self._status_ns < STATUS_NS:
            return
        self._status_ns = now_ns
        summary = self._tape.summary()
        await self._bulletin.publish(
            ReplayStatus(
                state=self._state,
                run=self._bulletin.run,
                source=self._tape.name,
                lineage=self._tape.lineage,
                cut_ts_ns=self._cut_ns,
                symbols=symbols_of(self._lanes),
                ts_event_ns=self._lanes.ts_event_ns,
                rejects=summary.rejects,
                rejects_path=str(summary.rejects_path) if summary.rejects_path is not None else None,
                restarts=self._bulletin.restarts,
                restarted=self._bulletin.restarted,
            )
        )


async def _in_thread(slices: Iterator[TapeSlice]) -> AsyncGenerator[TapeSlice, None]:
    """Reads ahead by one slice in a thread, so that parsing does not hold up publishing."""
    following = asyncio.create_task(asyncio.to_thread(next, slices, None))
    try:
        while (part := await following) is not None:
            following = asyncio.create_task(asyncio.to_thread(next, slices, None))
            yield part
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            if not following.done():
                await following
