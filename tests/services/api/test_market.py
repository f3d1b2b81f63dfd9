"""Status, signals and bars over HTTP."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager

import pytest

from tapelab.api.schemas import BarItem, SignalItem
from tapelab.common import topics
from tapelab.common.schemas.signals import signal_to_builtins
from tapelab.common.storage.halts import Halt, Halts
from tests.common.storage.manifests import manifest
from tests.contracts import records as golden
from tests.services.api.conftest import build, problem
from tests.services.api.tape import SESSION_CLOSE_NS, bar, dead, record, signal_records, ticks

SECOND = 1_000_000_000


async def test_the_status_joins_flow_models_halts_and_dead_letters(rig, http, redis_client, clock):
    now = clock.now_ns()
    rig.take(
        [
            record(topics.TICKS, ticks(0, 50), hops={"ingest": now - 2 * SECOND}),
            record(topics.BARS, bar(0)),
            record(topics.SIGNALS, golden.signal(), hops={"ingest": now - 2 * SECOND, "inference": now}),
            dead(topics.TICKS, "bars", 3),
        ]
    )
    await rig.deps.registry.add_model(manifest(), "exp-1")
    await rig.deps.registry.set_pointer("champion", "m1", "shadow", reason="x")
    await Halts(rig.deps.pool, redis_client).halt("WINZ26", Halt(reason="news", by="me", set_ns=1))
    await rig.deps.status.refresh_stores()
    status = (await http.get("/ml/data/status")).json()
    assert status["server_ns"] == str(now)
    (symbol,) = status["symbols"]
    assert symbol == {
        "symbol": "WINZ26", "exchange": "B3", "stream": "7", "ticks": 50, "bars": 1, "features": 0, "signals": 1,
        "last_price": 149.0, "last_ts_event_ns": "1763557200000000049", "ticks_per_s": 10.0, "lag_s": 2.0,
        "halted": True, "halt_reason": "news", "session_open": True,
    }  # fmt: skip
    assert status["totals"] == {"ticks": 50, "bars": 1, "features": 0, "signals": 1, "dead": 1}
    assert status["rates"]["ticks_per_s"] == 10.0
    assert status["latency_ms"] == {"p50": 2000.0, "p95": 2000.0, "p99": 2000.0, "n": 1}
    assert (status["champion"]["model_id"], status["champion"]["mode"], status["challenger"]) == ("m1", "shadow", None)
    assert {"topic": "md.ticks.v1.dlq", "count": 1} in status["dlq"]
    assert [service["name"] for service in status["services"]] == ["api", "postgres", "redis"]
    assert all(service["up"] and service["ready"] for service in status["services"])


async def test_a_session_is_open_until_its_end_was_published(rig, http):
    rig.take([record(topics.TICKS, ticks(0, 5))])
    assert (await http.get("/ml/data/status")).json()["symbols"][0]["session_open"]
    rig.take([record(topics.TICKS, ticks(5, 0, session_end_ns=SESSION_CLOSE_NS), offset=1)])
    assert not (await http.get("/ml/data/status")).json()["symbols"][0]["session_open"]


async def test_a_redis_that_is_gone_is_shown_and_the_rest_goes_on(rig, http, redis_client):
    await redis_client.set("tapelab:model:champion:default", b"nonsense")
    await rig.deps.status.refresh_stores()
    services = {service["name"]: service for service in (await http.get("/ml/data/status")).json()["services"]}
    assert (services["redis"]["up"], services["redis"]["ready"]) == (True, False)
    assert "tapelab:model:champion:default" in services["redis"]["detail"]


@contextmanager
def readyz(status: int, body: bytes):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


async def test_services_are_asked_whether_they_are_ready(pool, redis_client, tmp_path, repository, clock):
    with (
        readyz(200, b'{"ready": true, "detail": ""}') as good,
        readyz(503, b'{"ready": false, "detail": "waiting for a model"}') as waiting,
        readyz(200, b"<html>") as odd,
    ):
        services = f"bars={good},inference={waiting},odd={odd},gone=http://127.0.0.1:18449"
        rig = build(pool, redis_client, tmp_path, repository, clock, services=services)
        await rig.deps.status.refresh_services()
    states = {state.name: state for state in rig.deps.status.build().services}
    assert (states["bars"].up, states["bars"].ready) == (True, True)
    assert (states["inference"].ready, states["inference"].detail) == (False, "waiting for a model")
    assert (states["odd"].up, states["odd"].ready) == (True, False)
    assert not states["gone"].up
    assert "18449" in states["gone"].detail


async def test_signals_are_given_as_on_the_topic_oldest_first_and_filtered(rig, http):
    rig.take([*signal_records(0, 3), *signal_records(0, 2, symbol="WDOZ26", mode="shadow")])
    everything = (await http.get("/ml/signals")).json()
    assert [item["signal_id"] for item in everything["items"]] == [
        "WINZ26-1-0", "WINZ26-1-1", "WINZ26-1-2", "WDOZ26-1-0", "WDOZ26-1-1",
    ]  # fmt: skip
    assert (everything["next"], everything["seq"]) == (None, "5")
    one = (await http.get("/ml/signals", params={"symbol": "WINZ26", "limit": 1})).json()["items"]
    assert one == [json.loads(signal_records(2, 1)[0].value)]
    shadow = (await http.get("/ml/signals", params={"mode": "shadow"})).json()["items"]
    assert {item["symbol"] for item in shadow} == {"WDOZ26"}


async def test_bars_are_given_for_every_live_specification(rig, http):
    rig.take([record(topics.BARS, bar(n, close=100.0 + n), offset=n) for n in range(4)])
    rig.take([record(topics.BARS, bar(0, spec="volume:2000"), offset=9)])
    body = (await http.get("/ml/bars", params={"symbol": "WINZ26", "limit": 2})).json()
    assert [(item["seq"], item["close"]) for item in body["items"]] == [("2", 102.0), ("3", 103.0)]
    assert body["spec"] == body["specs"][0] == "tick:50"
    other = (await http.get("/ml/bars", params={"symbol": "WINZ26", "spec": "volume:2000"})).json()
    assert len(other["items"]) == 1
    assert (await http.get("/ml/bars", params={"symbol": "NONE"})).json()["items"] == []


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("/ml/bars", "symbol"),
        ("/ml/bars?symbol=WINZ26&spec=tick:7", "spec"),
        ("/ml/signals?limit=0", "limit"),
        ("/ml/signals?mode=paper", "mode"),
    ],
)
async def test_a_wrong_query_is_a_problem_that_names_the_field(http, url, field):
    assert problem(await http.get(url), 422)["field"] == field


async def test_what_does_not_exist_is_a_problem(http):
    assert problem(await http.get("/ml/nothing"), 404)["code"] == "not_found"
    assert problem(await http.put("/ml/signals"), 405)["expected"] == "GET"


def test_the_described_shapes_are_those_of_the_records():
    described = {field.alias or name for name, field in SignalItem.model_fields.items()}
    assert described == signal_to_builtins(golden.signal()).keys()
    assert set(BarItem.model_fields) <= set(golden.bar().__struct_fields__)


async def test_the_gateway_says_that_it_lives(http):
    assert (await http.get("/healthz")).json() == {"service": "api", "alive": True}
