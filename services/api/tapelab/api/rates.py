"""Rates over the last seconds and latency percentiles over the last signals."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

_SECOND_NS: Final = 1_000_000_000
WINDOW_S: Final = 5


class Rate:
    """Events per second over the last ``WINDOW_S`` whole seconds of wall-clock time.

    Events are counted in the second they were published, so that what is read late (the log before the
    gateway's start) does not look like a burst now.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, published_ns: int, count: int = 1) -> None:
        """Count events."""
        second = published_ns // _SECOND_NS
        self._counts[second] = self._counts.get(second, 0) + count
        if len(self._counts) > 4 * WINDOW_S:
            for old in sorted(self._counts)[: -2 * WINDOW_S]:
                del self._counts[old]

    def per_s(self, now_ns: int) -> float:
        """The rate now; the running second does not count."""
        now = now_ns // _SECOND_NS
        return sum(self._counts.get(second, 0) for second in range(now - WINDOW_S, now)) / WINDOW_S


class Percentiles(NamedTuple):
    """Percentiles in milliseconds, ``None`` before the first value; ``n`` values since the start."""

    p50: float | None
    p95: float | None
    p99: float | None
    n: int


class Latencies:
    """The newest latencies and their percentiles (nearest rank)."""

    def __init__(self, keep: int = 2000) -> None:
        self._values: deque[float] = deque(maxlen=keep)
        self._n = 0

    def add(self, ms: float) -> None:
        """Take one latency in milliseconds."""
        self._values.append(ms)
        self._n += 1

    def summary(self) -> Percentiles:
        """Percentiles of the newest values."""
        ordered = sorted(self._values)
        if not ordered:
            return Percentiles(None, None, None, 0)

        def rank(percent: int) -> float:
            return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]

        return Percentiles(rank(50), rank(95), rank(99), self._n)
