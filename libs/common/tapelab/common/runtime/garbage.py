"""The garbage collector, tuned for a process that keeps its objects, and its pauses measured.

What a service has when it becomes ready (modules, kernels, configuration, restored state) lives as long as the
process. Frozen, it is never walked again, and a full collection costs what was made since.
"""

from __future__ import annotations

import gc
import logging
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge

from tapelab.common.clock import Clock
from tapelab.common.runtime.histogram import FastHistogram

#: Net new containers before the young generation is collected, then how many of those before the next older.
#: Measured (docs/operations.md): a third of the default's work, and no pause above 1 ms.
THRESHOLDS: Final = (5_000, 20, 20)
_BOUNDS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class Garbage:
    """Watches the collector from :meth:`watch` to :meth:`release`."""

    def __init__(self, registry: CollectorRegistry, log: logging.Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        pauses = FastHistogram(
            "tapelab_gc_pause_seconds",
            "Time one garbage collection took.",
            ("generation",),
            bounds=_BOUNDS,
            registry=registry,
        )
        self.pauses = tuple(pauses.labels(str(generation)) for generation in range(3))
        self._frozen = Gauge("tapelab_gc_frozen_objects", "Objects that are never walked again.", registry=registry)
        self._started_ns = 0
        #: Seconds spent collecting since the process began.
        self.paused_s = 0.0

    def watch(self) -> None:
        """Collect less often, and measure every collection from here on."""
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._callback)

    def release(self) -> None:
        """Measure no more."""
        if self._callback in gc.callbacks:
            gc.callbacks.remove(self._callback)

    def settle(self) -> None:
        """The start is over: collect once, and keep what is left for good."""
        started_ns = self._clock.monotonic_ns()
        gc.collect()
        gc.freeze()
        frozen = gc.get_freeze_count()
        self._frozen.set(frozen)
        took_ms = (self._clock.monotonic_ns() - started_ns) / 1e6
        self._log.info("garbage settled", extra={"fields": {"frozen_objects": frozen, "took_ms": round(took_ms, 1)}})

    def _callback(self, phase: str, info: dict[str, Any]) -> None:
        # Runs wherever the interpreter happens to be: nothing in here may take a lock.
        now_ns = self._clock.monotonic_ns()
        if phase == "start":
            self._started_ns = now_ns
            return
        took_s = (now_ns - self._started_ns) / 1e9
        self.paused_s += took_s
        self.pauses[info["generation"]].observe(took_s)
