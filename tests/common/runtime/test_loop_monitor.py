"""The loop's lateness is measured, told apart by cause, and what held it is named."""

from __future__ import annotations

import asyncio
import gc
import logging
import time

import pytest
from prometheus_client import CollectorRegistry

from tapelab.common.clock import SystemClock
from tapelab.common.runtime.garbage import THRESHOLDS, Garbage
from tapelab.common.runtime.loop_monitor import STALL_S, LoopMonitor


def computes_for(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        sum(range(1000))


def monitored(log: logging.Logger) -> tuple[LoopMonitor, CollectorRegistry]:
    registry = CollectorRegistry()
    clock = SystemClock()
    return LoopMonitor(registry, log, Garbage(registry, log, clock), clock), registry


async def test_a_computation_in_the_loop_is_seen_and_named(caplog: pytest.LogCaptureFixture) -> None:
    monitor, registry = monitored(logging.getLogger("test"))
    monitor.start()
    try:
        computes_for(0.06)  # not armed: a start may compile
        await asyncio.sleep(0.02)
        assert monitor.lag.count == 0
        monitor.arm()
        await asyncio.sleep(0.05)
        computes_for(0.15)
        await asyncio.sleep(0.03)
    finally:
        monitor.stop()
    assert monitor.lag.above(STALL_S) >= 1
    assert registry.get_sample_value("tapelab_event_loop_stalls_total", {"cause": "computing"}) == 1
    (warning,) = [
        r for r in caplog.records if "event loop was held" in r.getMessage() and r.fields["loop_cpu_ms"] > 100
    ]  # type: ignore[attr-defined]
    assert "computes_for (runtime/test_loop_monitor.py:" in warning.fields["held_by"]  # type: ignore[attr-defined]
    assert warning.fields["cause"] == "computing"  # type: ignore[attr-defined]


async def test_a_short_wait_is_counted_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    monitor, registry = monitored(logging.getLogger("test"))
    monitor.start()
    monitor.arm()
    try:
        await asyncio.sleep(0.02)
        time.sleep(0.06)
        assert monitor.still_s > 0.03
        await asyncio.sleep(0.02)
    finally:
        monitor.stop()
    assert registry.get_sample_value("tapelab_event_loop_stalls_total", {"cause": "waiting"}) >= 1
    assert not [r for r in caplog.records if getattr(r, "fields", {}).get("late_ms", 1000) < 200]


async def test_warnings_come_in_small_numbers(caplog: pytest.LogCaptureFixture) -> None:
    monitor, registry = monitored(logging.getLogger("test"))
    monitor.start()
    monitor.arm()
    try:
        for _ in range(8):
            await asyncio.sleep(0.015)
            computes_for(0.04)
        await asyncio.sleep(0.03)
    finally:
        monitor.stop()
    assert registry.get_sample_value("tapelab_event_loop_stalls_total", {"cause": "computing"}) >= 5
    assert len([r for r in caplog.records if "event loop was held" in r.getMessage()]) <= 4


def test_collections_are_measured_and_the_start_is_frozen() -> None:
    registry = CollectorRegistry()
    before = gc.get_threshold()
    garbage = Garbage(registry, logging.getLogger("test"), SystemClock())
    garbage.watch()
    try:
        gc.collect(0)
        gc.collect()
        assert (garbage.pauses[0].count, garbage.pauses[2].count) == (1, 1)
        assert garbage.paused_s == pytest.approx(sum(pause.total for pause in garbage.pauses))
        garbage.settle()
        assert gc.get_threshold() == THRESHOLDS
        assert registry.get_sample_value("tapelab_gc_frozen_objects") == gc.get_freeze_count() > 0
    finally:
        garbage.release()
        gc.unfreeze()
        gc.set_threshold(*before)
    gc.collect()
    assert garbage.pauses[2].count == 2
