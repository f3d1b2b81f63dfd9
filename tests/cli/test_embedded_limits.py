"""A run that has become too long for the embedded broker says so, once."""

from __future__ import annotations

from typing import Any

from tapelab.cli.up.embedded_limits import MEMORY_BYTES, EmbeddedLimits


def status(n: int, p50: float | None) -> dict[str, Any]:
    return {"latency_ms": {"p50": p50, "p95": p50, "p99": p50, "n": n}}


def test_nothing_is_said_of_a_run_that_does_well() -> None:
    limits = EmbeddedLimits()
    assert limits.reached(MEMORY_BYTES, None) == []
    assert limits.reached(MEMORY_BYTES, status(0, None)) == []
    assert limits.reached(MEMORY_BYTES, status(100_000, 999.0)) == []


def test_the_first_signals_may_be_late() -> None:
    assert EmbeddedLimits().reached(0, status(199, 5000.0)) == []


def test_each_limit_is_told_once() -> None:
    limits = EmbeddedLimits()
    (memory,) = limits.reached(MEMORY_BYTES + 1, status(200, 10.0))
    assert "2 GiB" in memory
    (latency,) = limits.reached(MEMORY_BYTES + 1, status(300, 1250.0))
    assert "longer than 1.2 s" in latency
    assert "BROKER=kafka" in latency
    assert limits.reached(MEMORY_BYTES + 1, status(400, 2000.0)) == []
