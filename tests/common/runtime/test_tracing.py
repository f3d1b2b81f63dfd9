"""OpenTelemetry spans as a receiver of OTLP over HTTP gets them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import Any

import pytest

from tapelab.common.errors import ConfigError
from tapelab.common.runtime.headers import TRACE, trace_id, traceparent
from tapelab.common.runtime.stage import Dead, Output, Record, Step
from tapelab.common.runtime.tracing import open_tracing

NOW = 1_700_000_000_000_000_000
with_otel = pytest.mark.skipif(
    find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None,
    reason="needs OpenTelemetry: pip install -c constraints.txt -e '.[otel]'",
)


class Receiver:
    """What an OpenTelemetry collector would have got."""

    def __init__(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        receiver = self
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                for of_resource in body.resource_spans:
                    receiver.resources.append({a.key: a.value.string_value for a in of_resource.resource.attributes})
                    for scope in of_resource.scope_spans:
                        receiver.spans += scope.spans
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def record(offset: int, trace: bytes | None) -> Record:
    headers = () if trace is None else ((TRACE, trace),)
    return Record("md.ticks.v1", 2, offset, b"WINZ26", b"", headers)


def test_it_is_off_unless_asked_for() -> None:
    assert open_tracing("bars", "0", {"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}) is None
    code = "import sys, tapelab.bars.__main__; sys.exit(any(n.startswith('opentelemetry') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_asking_for_it_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "tapelab.common.runtime.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError, match=r"tapelab\[otel\]") as caught:
        open_tracing("bars", "0", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
    assert "unset OTEL_EXPORTER_OTLP_ENDPOINT" in str(caught.value)


@with_otel
def test_steps_link_to_the_traces_that_ingest_began(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address}
    first, second = traceparent("WINZ26", 3, 0, 512), traceparent("WINZ26", 3, 512, 700)
    ingest = open_tracing("ingest", "0", environ)
    bars = open_tracing("bars", "1", environ)
    assert ingest is not None
    assert bars is not None
    ingest.published("md.ticks.v1", first, 512, NOW, NOW + 1000)
    ingest.published("md.ticks.v1", b"nonsense", 1, NOW, NOW + 1000)
    records = [record(5, first), record(6, second), record(7, b"nonsense"), record(8, None)]
    outputs: list[Any] = [Output("md.bars.v1", None, cause) for cause in (0, 0, 1, 2)]  # type: ignore[arg-type]
    bars.step("bars", records, Step(outputs, [Dead(3, "bad")], {}, {}), NOW + 2000, NOW + 5000)
    ingest.close()
    bars.close()
    spans = {span.name: span for span in receiver.spans}
    assert set(spans) == {"publish md.ticks.v1", "process md.ticks.v1"}
    published, step = spans["publish md.ticks.v1"], spans["process md.ticks.v1"]
    assert published.trace_id.hex() == trace_id([(TRACE, first)])
    assert f"00-{published.trace_id.hex()}-{published.span_id.hex()}-01".encode() == first
    linked = [f"00-{link.trace_id.hex()}-{link.span_id.hex()}-01".encode() for link in step.links]
    assert linked == [first, second]
    assert step.trace_id != published.trace_id
    assert (step.start_time_unix_nano, step.end_time_unix_nano) == (NOW + 2000, NOW + 5000)
    attributes = {a.key: a.value.int_value or a.value.string_value for a in step.attributes}
    assert attributes["messaging.batch.message_count"] == 4
    assert (attributes["tapelab.outputs"], attributes["tapelab.dead"]) == (4, 1)
    assert sorted(r["service.name"] for r in receiver.resources) == ["bars", "ingest"]


@with_otel
def test_a_receiver_that_is_gone_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://127.0.0.1:9"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    tracing = open_tracing("bars", "0", {"OTEL_EXPORTER_OTLP_ENDPOINT": address})
    assert tracing is not None
    started = time.monotonic()
    for offset in range(3000):
        tracing.step("bars", [record(offset, None)], Step([], [], {}, {}), NOW, NOW + 1)
    tracing.close()
    assert time.monotonic() - started < 8
