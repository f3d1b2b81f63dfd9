"""What a host tells of its work and of its broker: metrics, log lines, readiness, spans."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tapelab.common import topics
from tapelab.common.runtime.headers import INGEST, TRACE, stamp, trace_id, traceparent
from tapelab.common.runtime.health import Health
from tapelab.common.runtime.host import Host
from tapelab.common.runtime.kafka import create_topics
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.stage import Dead, Output, Record, Step
from tapelab.common.schemas.features import FeatureVector
from tests.fixtures_broker import Broker

pytestmark = pytest.mark.slow
PARTITION = topics.partition_of("WINZ26", 2)


class Picky:
    """Takes everything but ``bad``."""

    def process(self, records: Sequence[Record]) -> Step:
        step = Step([], [], {}, {"bars_dropped": 1})
        for index, record in enumerate(records):
            if record.value == b"bad":
                step.dead.append(Dead(index, "it says bad"))
                continue
            values = dict.fromkeys(FeatureVector.__struct_fields__, 0)
            named = {
                "symbol": "WINZ26",
                "exchange": "X",
                "lineage": "l",
                "values": b"",
                "stream": 1,
                "seq": record.offset,
            }
            vector = FeatureVector(**{**values, **named, "ts_event_ns": 7_000_000_000})
            step.outputs.append(Output(topics.FEATURES, vector, index))
        return step

    def freeze(self) -> Callable[[], bytes]:
        return lambda: b"state"

    def restore(self, blob: bytes) -> None:
        assert blob == b"state"


class Told:
    """Stands in for tracing."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def step(self, stage: str, records: Sequence[Record], step: Step, started_ns: int, ended_ns: int) -> None:
        assert 0 < started_ns <= ended_ns <= time.time_ns()
        self.steps.append((stage, len(records), len(step.outputs)))

    def published(self, *_: Any) -> None:
        raise AssertionError("a stage does not publish")

    def close(self) -> None:
        raise AssertionError("the host does not close it")


async def until(what: str, true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


async def test_a_host_tells_of_its_work_and_of_its_broker(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ctx = ServiceContext("features", broker.settings, {})
    told = Told()
    ctx.tracing = told
    health = Health("features", ctx.states, ctx.registry, lambda: 0.0)

    def value(name: str, **labels: str) -> float | None:
        return ctx.registry.get_sample_value(f"tapelab_{name}", labels)

    def of_stage(name: str, **labels: str) -> float | None:
        return value(name, stage="features", **labels)

    await create_topics(broker.settings, topics.ALL_TOPICS)
    host = Host("features", [topics.BARS], [topics.FEATURES], lambda _: Picky(), ctx)
    running = asyncio.create_task(host.run())
    try:
        await until("ready", lambda: ctx.readiness[0])
        assert (value("ready"), value("dependency_up", dependency="broker")) == (1, 1)
        assert of_stage("recoveries_total") == 2
        traces = [traceparent("WINZ26", 1, n, n + 1) for n in range(3)]
        async with Publisher(broker.settings) as publisher:
            for body, trace in zip((b"good", b"bad", b"good"), traces, strict=True):
                headers = [stamp(INGEST, time.time_ns() - 10**9), (TRACE, trace), stamp("bars", time.time_ns())]
                await publisher.send(topics.BARS, "WINZ26", body, headers=headers)
            await publisher.flush()
        await until("taken", lambda: of_stage("records_in_total") == 3)
        await until("lag known", lambda: of_stage("lag_records", partition=str(PARTITION)) == 0)
        assert (of_stage("records_out_total"), of_stage("records_dead_total")) == (2, 1)
        assert of_stage("records_seen_total") == len(told.steps)
        assert of_stage("watermark_seconds", partition=str(PARTITION)) == 7
        assert 1 < (of_stage("watermark_delay_seconds", partition=str(PARTITION)) or 0) < 30
        assert of_stage("hop_seconds_count") == 2
        assert 2 < (of_stage("since_ingest_seconds_sum") or 0) < 60
        assert sum(step[1] for step in told.steps) == 3
        async with TopicReader(
            broker.settings, [topics.FEATURES, topics.BARS + topics.DLQ_SUFFIX], start="earliest"
        ) as reader:
            found = await reader.read_to_end()
        assert sorted(trace_id(r.headers) for r in found) == sorted(trace[3:35].decode() for trace in traces)
        (line,) = [r for r in caplog.records if r.getMessage() == "record dead-lettered"]
        assert line.fields["record"] == f"{topics.BARS}[{PARTITION}]@1"  # type: ignore[attr-defined]
        assert line.fields["trace_id"] == traces[1][3:35].decode()  # type: ignore[attr-defined]

        broker.kill()
        await until("waiting", lambda: value("dependency_up", dependency="broker") == 0)
        status, _, body = health.page("/readyz")
        page = json.loads(body)
        assert (status, page["state"], list(page["waiting_for"])) == (503, "waiting", ["broker"])
        assert page["detail"].startswith("waiting for the broker for ")
        assert health.page("/healthz")[0] == 200
        broker.start()
        await until("ready again", lambda: ctx.readiness[0])
        assert (value("ready"), value("reconnects_total", dependency="broker")) == (1, 1)
        assert json.loads(health.page("/readyz")[2])["waiting_for"] == {}
    finally:
        ctx.stopping.set()
        await asyncio.wait_for(running, 20)
