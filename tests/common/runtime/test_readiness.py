"""What /readyz and /healthz say."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from prometheus_client import CollectorRegistry

from tapelab.common.clock import ManualClock
from tapelab.common.runtime.health import STUCK_S, Health, serve
from tapelab.common.runtime.outage import Outage
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


def test_a_client_that_does_not_wait_for_its_answer_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """The log is one JSON object per line, and probes that give up are common."""
    ctx, _ = context()
    server = serve(Health("bars", ctx.states, ctx.registry, lambda: 0.0), "127.0.0.1", 0)
    try:
        try:
            raise BrokenPipeError(32, "Broken pipe")
        except BrokenPipeError:
            server.handle_error(None, ("127.0.0.1", 1))
        assert capsys.readouterr() == ("", "")
        try:
            raise ValueError("a fault of ours")
        except ValueError:
            server.handle_error(None, ("127.0.0.1", 1))
        assert "a fault of ours" in capsys.readouterr().err
    finally:
        server.shutdown()
        server.server_close()


async def test_silence_is_told_as_an_outage_while_the_attempt_goes_on() -> None:
    """The attempt's own limit may be far longer than what a user should wait for the reason."""
    ctx, clock = context()
    ctx.ready()
    outage = Outage("postgres", clock, ctx.log, ctx, silent_s=0.05)
    goes_on = asyncio.Event()
    asking = asyncio.create_task(outage.through(goes_on.wait, lambda error: False))
    async with asyncio.timeout(10):
        while ctx.readiness[0]:
            await asyncio.sleep(0.01)
    assert "no answer for 0.05 s" in ctx.readiness[1]
    goes_on.set()
    assert await asking
    assert ctx.readiness[0]
    assert not outage.away


async def test_an_answer_that_is_an_error_ends_an_outage() -> None:
    ctx, clock = context()
    ctx.ready()
    outage = Outage("postgres", clock, ctx.log, ctx)
    failures = [ConnectionRefusedError(111, "refused"), ValueError("not like this")]

    async def attempt() -> None:
        raise failures.pop(0)

    with pytest.raises(ValueError, match="not like this"):
        await outage.through(attempt, lambda error: isinstance(error, OSError))
    assert ctx.readiness[0]
