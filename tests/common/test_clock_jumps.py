"""A wall clock that is set forward or back by hours changes no duration."""

from __future__ import annotations

import logging

import pytest

from tapelab.common.clock import ManualClock
from tapelab.common.runtime.outage import Outage
from tapelab.common.storage.jobs import STALE_NS, Jobs
from tapelab.ingest.pace import Pacer

HOURS = 3 * 3600
MINUTE_NS = 60_000_000_000


@pytest.mark.parametrize("jump_s", [HOURS, -HOURS])
async def test_a_paced_tape_neither_stalls_nor_bursts(jump_s: int) -> None:
    clock = ManualClock()
    pacer = Pacer(clock, 60.0, MINUTE_NS)
    began_ns = clock.monotonic_ns()
    for minute in range(10):
        if minute == 5:
            clock.jump(jump_s)
        await pacer.until(minute * MINUTE_NS)
    assert clock.monotonic_ns() - began_ns == 9_000_000_000  # nine minutes of the tape at 60x


@pytest.mark.parametrize("jump_s", [HOURS, -HOURS])
async def test_an_outage_is_as_long_as_it_was(jump_s: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = ManualClock()
    outage = Outage("broker", clock, logging.getLogger("tapelab.test"))
    outage.begin("gone")
    clock.jump(jump_s)
    clock.advance(2)
    outage.over()
    assert caplog.records[-1].fields == {"away_s": 2.0}  # type: ignore[attr-defined]


async def test_a_dead_workers_experiment_is_claimed_although_the_clock_was_set_back(pool) -> None:
    clock = ManualClock()
    jobs = Jobs(pool, clock)
    made = await jobs.create({}, "x")
    assert await jobs.claim("dead") is not None
    clock.jump(-HOURS)
    claimed = await jobs.claim("alive")
    assert claimed is not None
    assert (claimed.id, claimed.worker) == (made.id, "alive")


async def test_a_live_workers_experiment_stays_its_own_once_it_has_told_the_new_time(pool) -> None:
    clock = ManualClock()
    jobs = Jobs(pool, clock)
    made = await jobs.create({}, "x")
    await jobs.claim("alive")
    for jump_s in (HOURS, -HOURS):
        clock.jump(jump_s)
        assert await jobs.heartbeat(made.id, "alive")
        assert await jobs.claim("other") is None
    clock.advance(STALE_NS / 1e9 + 1)
    assert await jobs.claim("other") is not None
