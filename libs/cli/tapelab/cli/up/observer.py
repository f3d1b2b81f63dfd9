"""Counts signals as an engine would get them, and how long after their last print they came."""

from __future__ import annotations

import asyncio
import logging

import numpy as np

from tapelab.common import topics
from tapelab.common.clock import Clock
from tapelab.common.codec import decode
from tapelab.common.errors import PoisonRecord
from tapelab.common.runtime.headers import INGEST, read_stamp
from tapelab.common.runtime.outage import Outage
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.settings import CommonSettings


class SignalObserver:
    """Follows ``ml.signals.v1`` from the moment it is started."""

    def __init__(self, settings: CommonSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._seen: set[str] = set()
        self._latencies_ms: list[float] = []
        self.first_ns: int | None = None
        self.changed = asyncio.Event()

    @property
    def signals(self) -> int:
        """Signals received, each once."""
        return len(self._seen)

    def latency_ms(self) -> dict[str, float | None]:
        """Percentiles of the time from ingest's publishing the last print to receiving the signal."""
        if not self._latencies_ms:
            return {"p50": None, "p95": None, "p99": None}
        values = np.percentile(self._latencies_ms, (50, 95, 99))
        return {name: round(float(v), 1) for name, v in zip(("p50", "p95", "p99"), values, strict=True)}

    async def follow(self) -> None:
        """Read until cancelled."""
        broker = Outage("broker", self._clock, logging.getLogger("tapelab.up"))
        async with TopicReader(self._settings, [topics.SIGNALS], start="earliest", outage=broker) as reader:
            while True:
                for record in await reader.poll():
                    now_ns = self._clock.now_ns()
                    try:
                        signal = decode(topics.SIGNALS, record.value)
                    except PoisonRecord:
                        continue
                    if signal.signal_id in self._seen:
                        continue
                    self._seen.add(signal.signal_id)
                    self.first_ns = self.first_ns or now_ns
                    ingest_ns = read_stamp(record.headers, INGEST)
                    if ingest_ns is not None:
                        self._latencies_ms.append(max(0, now_ns - ingest_ns) / 1e6)  # the wall clock may be set back
                    self.changed.set()
