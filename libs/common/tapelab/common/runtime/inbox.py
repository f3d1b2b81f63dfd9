"""What was read for a partition and waits to be worked on, bounded in bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from tapelab.common.runtime.fairness import size_of
from tapelab.common.runtime.stage import Record

#: A partition with so much waiting is read no further; with half of it, it is read again.
FULL_BYTES: Final = 8_388_608
#: The most that is worked on before offsets move on: what a crash may make a stage compute again, and the reach
#: of the symbols' turns.
CHUNK_BYTES: Final = 4_194_304
CHUNK_RECORDS: Final = 4_096


class Inbox:
    """Records in the order of their log; ``full`` asks the reader to pause, ``on_room`` tells it to go on."""

    def __init__(self, on_room: Callable[[], None]) -> None:
        self._on_room = on_room
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._paused = False
        self._arrived = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether the reader should pause; once it is, :meth:`take` says when there is room."""
        self._paused = self._paused or self._bytes >= FULL_BYTES
        return self._paused

    @property
    def paused(self) -> bool:
        """Whether the reader waits for room."""
        return self._paused

    @property
    def bytes(self) -> int:
        """What waits to be worked on."""
        return self._bytes

    def put(self, records: Sequence[Record]) -> None:
        """Add what was read; it is never refused, so a reader that pauses exceeds the bound by one fetch at most."""
        self._records.extend(records)
        self._bytes += sum(map(size_of, records))
        if self._records:
            self._arrived.set()

    async def take(self, timeout_s: float | None) -> list[Record]:
        """The next chunk of the log; empty when none came in time."""
        if not self._records:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
            except TimeoutError:
                return []
        chunk: list[Record] = []
        taken = 0
        while self._records and len(chunk) < CHUNK_RECORDS and taken < CHUNK_BYTES:
            chunk.append(self._records.popleft())
            taken += size_of(chunk[-1])
        self._bytes -= taken
        if not self._records:
            self._arrived.clear()
        if self._paused and self._bytes <= FULL_BYTES // 2:
            self._paused = False
            self._on_room()
        return chunk
