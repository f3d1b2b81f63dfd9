"""Playing by the tape's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from tapelab.common.clock import Clock
from tapelab.common.errors import ConfigError
from tapelab.common.sources.protocol import TapeChunk, TapeSlice

#: Behind by more than this, the schedule starts anew instead of catching up in a burst.
MAX_BEHIND_NS: Final = 2_000_000_000


def parse_speed(text: str) -> float | None:
    """The factor of a speed setting; None for ``max``.

    Raises:
        ConfigError: it is neither a positive number nor ``max``.
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ConfigError(
            f"TAPELAB_INGEST_SPEED={text!r} is wrong",
            expected="a positive number such as 1 or 60, or max",
            actual=text,
            remedy="correct the setting",
        )
    return speed


class Pacer:
    """Says when a stretch of the tape is due.

    Args:
        speed: seconds of the tape per second of the wall clock.
        max_gap_ns: a longer stretch without prints counts as this long.
    """

    def __init__(self, clock: Clock, speed: float, max_gap_ns: int) -> None:
        self._clock = clock
        self._speed = speed
        self._max_gap_ns = max_gap_ns
        self._wall_ns = clock.monotonic_ns()
        self._last_ns: int | None = None

    async def until(self, tape_ns: int) -> None:
        """Wait until the tape's time has come."""
        if self._last_ns is not None:
            gap_ns = min(max(0, tape_ns - self._last_ns), self._max_gap_ns)
            self._wall_ns += int(gap_ns / self._speed)
        self._last_ns = tape_ns
        wait_ns = self._wall_ns - self._clock.monotonic_ns()
        if wait_ns > 0:
            await self._clock.sleep(wait_ns / 1e9)
        elif -wait_ns > MAX_BEHIND_NS:
            self._wall_ns = self._clock.monotonic_ns()


def finer(part: TapeSlice, step_ns: int) -> Iterator[TapeSlice]:
    """A slice in steps of ``step_ns`` on the same kind of grid; empty steps are left out."""
    pending: list[tuple[TapeChunk, np.ndarray[tuple[int], np.dtype[np.int64]], int]] = []
    for chunk in part.chunks:
        steps = np.maximum.accumulate(chunk.ticks.ts_event_ns) // step_ns
        pending.append((chunk, steps, 0))
    while pending:
        step = min(int(steps[at]) for _, steps, at in pending)
        chunks: list[TapeChunk] = []
        later: list[tuple[TapeChunk, np.ndarray[tuple[int], np.dtype[np.int64]], int]] = []
        for chunk, steps, at in pending:
            stop = int(np.searchsorted(steps, step, side="right"))
            if stop > at:
                chunks.append(chunk._replace(ticks=chunk.ticks.slice(at, stop)))
            if stop < chunk.ticks.n:
                later.append((chunk, steps, stop))
        pending = later
        yield TapeSlice((step + 1) * step_ns, tuple(chunks))
