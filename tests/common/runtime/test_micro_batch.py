"""Micro-batches end with the beat, whenever their records came."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import pytest
from aiokafka import TopicPartition

from tapelab.common import topics
from tapelab.common.clock import ManualClock
from tapelab.common.runtime import micro_batch
from tapelab.common.runtime.micro_batch import MicroBatches
from tapelab.common.settings import CommonSettings

BATCH_MS = 150


class Message(NamedTuple):
    offset: int
    topic: str = topics.FEATURES
    partition: int = 0
    key: bytes = b"AAA"
    value: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 0


class Owner:
    """Reads what has come by the clock's time, and lets the clock go on while it waits."""

    def __init__(self, clock: ManualClock, come_ms: list[int]) -> None:
        self._clock = clock
        self._begin_ns = clock.monotonic_ns()
        self._come = [(ms, Message(n)) for n, ms in enumerate(come_ms)]

    @property
    def now_ms(self) -> float:
        return (self._clock.monotonic_ns() - self._begin_ns) / 1e6

    async def read(self, max_records: int, wait_ms: int) -> dict[TopicPartition, list[Any]]:
        until_ms = self.now_ms + wait_ms
        if not self._come or self._come[0][0] > until_ms:
            self._clock.advance(wait_ms / 1e3)
            return {}
        self._clock.advance(max(0.0, self._come[0][0] - self.now_ms) / 1e3)
        ready = [message for ms, message in self._come[:max_records] if ms <= self.now_ms]
        del self._come[: len(ready)]
        return {TopicPartition(topics.FEATURES, 0): ready}


class Window:
    def __init__(self) -> None:
        self.seen: list[float] = []
        self.window = self

    def observe(self, seconds: float) -> None:
        self.seen.append(round(seconds * 1e3, 6))


async def batches(
    come_ms: list[int], deciding_ms: float, calls: int
) -> tuple[list[tuple[float, list[int]]], list[float]]:
    """When each batch ended, the offsets in it, and what the histogram was told."""
    clock = ManualClock()
    owner, window, lane = Owner(clock, come_ms), Window(), object()
    made = MicroBatches(
        CommonSettings(), cast(Any, owner), cast(Any, {0: lane}), clock, cast(Any, window), batch_ms=BATCH_MS
    )
    found = []
    for _ in range(calls):
        batch = await made.next()
        found.append((owner.now_ms, [record.offset for records in batch.values() for record in records]))
        clock.advance(deciding_ms / 1e3 if batch else 0)
    return found, window.seen


async def test_batches_end_with_the_beat_and_deciding_delays_no_later_one() -> None:
    found, window = await batches([10, 100, 160, 200, 301, 440], deciding_ms=30, calls=3)
    assert found == [(150, [0, 1]), (300, [2, 3]), (450, [4, 5])]
    assert window == [150, 150, 150]


async def test_nothing_waits_longer_than_a_beat_after_a_quiet_time() -> None:
    found, _ = await batches([640, 655, 751], deciding_ms=5, calls=6)
    assert [one for one in found if one[1]] == [(750, [0, 1]), (900, [2])]


async def test_what_came_while_deciding_took_longer_than_a_beat_is_decided_at_once() -> None:
    found, window = await batches([10, 160, 310, 320, 480], deciding_ms=200, calls=3)
    assert found == [(150, [0]), (350, [1, 2, 3]), (550, [4])]
    assert window == [150, 200, 250]


async def test_after_a_beat_that_was_missed_and_silence_the_beat_goes_on() -> None:
    found, window = await batches([10, 400, 410], deciding_ms=200, calls=2)
    assert found == [(150, [0]), (450, [1, 2])]
    assert window == [150, 150]


async def test_a_full_batch_waits_for_no_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batch, "MAX_RECORDS", 2)
    found, window = await batches([1, 2, 3, 4, 5], deciding_ms=10, calls=3)
    assert found == [(2, [0, 1]), (12, [2, 3]), (150, [4])]
    assert window == [150]
