"""How late the event loop runs its timers, and what held it.

Every tick and every signal waits for the loop, so whoever computes in it for long delays them all. A timer of
10 ms measures how late it wakes. Where that is too late, the processor time of the loop's thread tells a
computation from a machine that had no core to spare, and a second thread, which looks every 20 ms, names the
functions in which it found the loop. Together they cost about a hundredth of a core.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from tapelab.common.clock import Clock
from tapelab.common.runtime.garbage import Garbage
from tapelab.common.runtime.histogram import FastHistogram
from tapelab.common.runtime.logs import Throttle

PERIOD_S: Final = 0.01
#: What the loop may be held at most by anything that computes in it.
STALL_S: Final = 0.02
#: A wait without computing is somebody else's load until it is as long as this.
WAIT_S: Final = 0.25
_BOUNDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_FRAMES: Final = 4
_REMEDIES: Final = {
    "computing": "it computed; move what held it to a thread, or make it shorter",
    "garbage": "garbage was collected; make fewer containers, or raise the collector's thresholds",
    "waiting": "it did not compute; a call that blocks, another thread with the interpreter's lock, or no free core",
}


class LoopMonitor:
    """Measures the running loop from :meth:`start` to :meth:`stop`; lateness counts once it is armed.

    Args:
        garbage: tells how much of a stall was garbage collection.
        clock: for the pace of the warnings.
    """

    def __init__(self, registry: CollectorRegistry, log: logging.Logger, garbage: Garbage, clock: Clock) -> None:
        self._log = log
        self._garbage = garbage
        self.lag = FastHistogram(
            "tapelab_event_loop_lag_seconds",
            "How late a timer of 10 ms woke.",
            bounds=_BOUNDS,
            registry=registry,
        ).labels()
        self._stalls = Counter(
            "tapelab_event_loop_stalls", "Wakes later than 20 ms, by what held the loop.", ("cause",), registry=registry
        )
        self._warnings = Throttle(clock, burst=3, every_s=10.0)
        self._worst_s = 0.0
        self._armed = False
        self._stopping = False
        self._caught = ""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the loop's thread."""
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._mark()
        threading.Thread(target=self._watch, name="loop-monitor", daemon=True).start()

    def arm(self) -> None:
        """Count from here on: the start is over, with its compiling and loading."""
        self._armed = True
        self._mark()

    def stop(self) -> None:
        """End."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()

    @property
    def still_s(self) -> float:
        """How long the loop has not turned; may be asked from any thread."""
        return max(0.0, self._loop.time() - self._due)

    def _mark(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._loop.time() + PERIOD_S
        self._cpu_s = time.thread_time()
        self._process_s = time.process_time()
        self._paused_s = self._garbage.paused_s
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        if self._armed:
            late_s = self._loop.time() - self._due
            self.lag.observe(max(0.0, late_s))
            if late_s > STALL_S:
                self._stalled(late_s)
        self._mark()

    def _stalled(self, late_s: float) -> None:
        computed_s = time.thread_time() - self._cpu_s
        collected_s = self._garbage.paused_s - self._paused_s
        cause = "waiting"
        if collected_s > late_s / 2:
            cause = "garbage"
        elif computed_s > max(STALL_S, late_s / 2):
            cause = "computing"
        self._stalls.labels(cause).inc()
        caught, self._caught = self._caught, ""
        if cause == "waiting" and late_s < WAIT_S:
            return
        self._worst_s = max(self._worst_s, late_s)
        held_back = self._warnings.admit()
        if held_back is None:
            return
        worst_s, self._worst_s = self._worst_s, 0.0
        self._log.warning(
            f"the event loop was held for {late_s * 1e3:.0f} ms, expected at most {STALL_S * 1e3:.0f}: "
            f"{_REMEDIES[cause]}",
            extra={
                "fields": {
                    "cause": cause,
                    "late_ms": round(late_s * 1e3, 1),
                    "loop_cpu_ms": round(computed_s * 1e3, 1),
                    "process_cpu_ms": round((time.process_time() - self._process_s) * 1e3, 1),
                    "gc_ms": round(collected_s * 1e3, 1),
                    "held_by": caught or "not seen",
                    "not_logged": held_back,
                    "worst_ms": round(worst_s * 1e3, 1),
                }
            },
        )

    def _watch(self) -> None:
        while not self._stopping:
            time.sleep(STALL_S)  # half the price of waiting for an event
            if not self._armed or self.still_s <= STALL_S / 2:
                continue
            frame = sys._current_frames().get(self._thread_id)
            # In its selector it has turned already, or waits for the interpreter's lock.
            if frame is not None and frame.f_code.co_name != "select":
                self._caught = _told(frame)


def _told(frame: FrameType | None) -> str:
    """The innermost functions, the caller last."""
    named: list[str] = []
    while frame is not None and len(named) < _FRAMES:
        code = frame.f_code
        place = "/".join(Path(code.co_filename).parts[-2:])
        named.append(f"{code.co_qualname} ({place}:{frame.f_lineno})")
        frame = frame.f_back
    return " < ".join(named)
