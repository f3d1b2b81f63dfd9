"""What /readyz and /healthz say."""

from __future__ import annotations

import json
import logging

from prometheus_client import CollectorRegistry

from tapelab.common.clock import ManualClock
from tapelab.common.runtime.health import STUCK_S, Health
from tapelab.common.runtime.readiness import Readiness
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.settings import CommonSettings


def context() -> tuple[ServiceContext, ManualClock]:
    clock = ManualClock()
    return ServiceContext("bars", CommonSettings(), {}, clock=clock, log=logging.getLogger("test")), clock


def exported(ctx: ServiceContext, name: str, **labels: str) -> float | None:
    return ctx.registry.get_sample_value(name, labels)


def test_it_passes_through_its_states() -> None:
    clock = ManualClock()
    states = Readiness(clock)
    assert (states.ready, states.state, states.detail) == (False, "starting", "starting")
    states.set(None, "playing a tape")
    assert (states.ready, states.state, states.detail) == (True, "ready", "playing a tape")
    states.recovering([2, 1])
    clock.advance(1.5)
    assert (states.ready, states.state) == (False, "recovering")
    assert states.detail == "recovering partitions 1, 2 for 1.5 s; playing a tape"
    states.wait_for("broker", "connection refused")
    clock.advance(12)
    states.wait_for("broker", "still refused")
    assert (states.ready, states.state) == (False, "waiting")
    assert states.detail.startswith("waiting for the broker for 12 s: still refused; recovering partitions 1, 2")
    assert states.answered("broker")
    assert not states.answered("broker")
    states.recovered([1, 2, 3])
    assert states.ready
    states.set("reading the log: 7 records to go")
    assert (states.ready, states.state, states.detail) == (False, "waiting", "reading the log: 7 records to go")


def test_the_page_says_since_when_and_for_what() -> None:
    clock = ManualClock(1_700_000_000_000_000_000)
    states = Readiness(clock)
    states.set(None)
    states.recovering([3])
    states.wait_for("broker", "refused")
    clock.advance(30)
    page = states.page()
    assert page["waiting_for"] == {"broker": {"since": "2023-11-14T22:13:20.000Z", "why": "refused"}}
    assert page["recovering"] == [3]
    assert page["since"] == "2023-11-14T22:13:20.000Z"


def test_a_service_is_told_once_that_its_start_is_over() -> None:
    ctx, _ = context()
    told: list[bool] = []
    ctx.on_started = lambda: told.append(ctx.readiness[0])
    ctx.ready("still reading")
    assert told == []
    ctx.ready()
    ctx.ready("reading again")
    ctx.ready(detail="fine")
    assert told == [True]
    assert ctx.readiness == (True, "fine")


def test_outages_are_counted_when_they_are_over() -> None:
    ctx, _ = context()
    ctx.ready()
    ctx.answered("broker")
    assert exported(ctx, "tapelab_dependency_up", dependency="broker") == 1
    assert exported(ctx, "tapelab_reconnects_total", dependency="broker") is None
    for _ in range(3):
        ctx.waiting("broker", "refused")
    assert exported(ctx, "tapelab_dependency_up", dependency="broker") == 0
    assert exported(ctx, "tapelab_ready") == 0
    ctx.answered("broker")
    assert exported(ctx, "tapelab_reconnects_total", dependency="broker") == 1
    assert exported(ctx, "tapelab_ready") == 1
    ctx.recovering([0])
    assert exported(ctx, "tapelab_ready") == 0
    ctx.recovered([0])
    assert exported(ctx, "tapelab_ready") == 1


def test_pages_over_http_codes() -> None:
    states, still_s = Readiness(ManualClock()), 0.0
    health = Health("bars", states, CollectorRegistry(), lambda: still_s)
    status, kind, body = health.page("/readyz")
    assert (status, kind, json.loads(body)["state"]) == (503, "application/json", "starting")
    still_s = STUCK_S + 1
    assert health.page("/healthz")[0] == 200  # a start may compile for longer
    states.set(None)
    status, _, body = health.page("/healthz")
    assert status == 503
    assert "expected a turn within 60 s, got none for 61 s" in json.loads(body)["detail"]
    still_s = 1.0
    assert json.loads(health.page("/healthz")[2]) == {"service": "bars", "alive": True}
    status, _, body = health.page("/readyz")
    assert (status, json.loads(body)["service"], json.loads(body)["ready"]) == (200, "bars", True)
    assert health.page("/metrics")[0] == 200
    assert health.page("/else")[0] == 404
