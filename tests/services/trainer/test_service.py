"""The trainer as a service: it claims, runs, tells and settles."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tapelab.common import topics
from tapelab.common.clock import SystemClock
from tapelab.common.codec import decode
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.jobs import Jobs
from tapelab.common.storage.pointers import read_pointers
from tapelab.common.storage.registry import Registry
from tapelab.trainer import gate
from tapelab.trainer.service import Trainer
from tapelab.trainer.settings import TrainerSettings
from tests.services.trainer.data import CONFIG_DIR, SMALL

pytestmark = pytest.mark.slow

EASY = {
    "p_value": 0.9,
    "mean_block": 1.0,
    "min_trades": 1,
    "min_deflated_sharpe": 0.0,
    "max_latency_us": 1e6,
    "n_boot": 500,
    "require_live": False,
}


@pytest.fixture(autouse=True)
def _easy_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tapes are too short for the real limits."""
    monkeypatch.setattr(gate, "POLICY", msgspec.convert(EASY, gate.GateConfig))


class Topic:
    """A publisher that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, bytes]] = []

    async def send(self, topic: str, key: str, value: bytes) -> None:
        self.sent.append((topic, key, value))

    async def flush(self) -> None:
        """Everything is there already."""


class Bench:
    """A trainer over real PostgreSQL and Redis, without a broker."""

    def __init__(self, folder: Path, pool: Any, redis: Any, files: str = "") -> None:
        settings = CommonSettings(artifacts=str(folder), config_dir=str(CONFIG_DIR))
        self.ctx = ServiceContext("trainer", settings, {}, clock=SystemClock())
        self.topic = Topic()
        self.jobs = Jobs(pool, SystemClock())
        quick = TrainerSettings(num_threads=1, heartbeat_s=0.05, files=files)
        self.trainer = Trainer(self.ctx, quick, pool, redis, self.topic)


@pytest.fixture
def bench(tmp_path, pool, redis_client) -> Bench:
    return Bench(tmp_path, pool, redis_client)


async def test_an_experiment_is_run_to_a_champion_and_every_step_is_told_twice(bench, redis_client) -> None:
    made = await bench.jobs.create(SMALL | {"gate": EASY}, "small")
    assert await bench.trainer.work_once()
    done = await bench.jobs.get(made.id)
    assert (done.status, done.progress, done.error) == ("done", 1.0, None)
    assert done.result["gate"]["passed"]
    assert [p.model_id for p in await read_pointers(redis_client)] == [done.result["model_id"]]

    kept = await bench.jobs.events(made.id)
    assert [event.seq for event in kept] == list(range(1, len(kept) + 1))
    assert {event.kind for event in kept} == {"status", "progress", "metric", "gate", "promotion"}
    assert kept[-1].data == {"status": "done", "model_id": done.result["model_id"], "gate_passed": True}
    sent = [decode(topic, value) for topic, _, value in bench.topic.sent]
    assert sent == kept
    assert {(topic, key) for topic, key, _ in bench.topic.sent} == {(topics.EVENTS, made.id)}
    assert not await bench.trainer.work_once()


async def test_an_experiment_that_does_not_fit_fails_with_the_reason_and_the_next_one_runs(bench) -> None:
    wrong = await bench.jobs.create({"modle": 1}, "wrong")
    short = await bench.jobs.create(SMALL | {"source": SMALL["source"] | {"path": "days=1,hours=0.2"}}, "short")
    assert await bench.trainer.work_once()
    assert await bench.trainer.work_once()
    failed = await bench.jobs.get(wrong.id)
    assert failed.status == "failed"
    assert "modle" in failed.error
    assert (await bench.jobs.get(short.id)).status == "failed"
    last = (await bench.jobs.events(wrong.id))[-1]
    assert (last.kind, last.data["status"], last.data["error"]) == ("status", "failed", failed.error)


async def test_a_stop_of_the_service_puts_the_experiment_back_and_it_resumes_on_the_same_spans(bench, pool) -> None:
    made = await bench.jobs.create(SMALL | {"gate": EASY}, "small")
    send = bench.topic.send

    async def stop_at_the_walk(topic: str, key: str, value: bytes) -> None:
        await send(topic, key, value)
        if decode(topic, value).data.get("stage") == "walk-forward":
            bench.ctx.stopping.set()

    bench.topic.send = stop_at_the_walk
    assert await bench.trainer.work_once()
    assert (await bench.jobs.get(made.id)).status == "queued"
    bench.ctx.stopping.clear()
    bench.topic.send = send
    assert await bench.trainer.work_once()
    done = await bench.jobs.get(made.id)
    assert (done.status, done.attempts) == ("done", 2)
    frozen = [e.data["spans"] for e in await bench.jobs.events(made.id) if e.data.get("stage") == "frozen"]
    assert len(frozen) == 2
    assert frozen[0] == frozen[1] == done.result["spans"]


async def test_an_experiment_stopped_by_a_person_ends_without_a_result(bench) -> None:
    made = await bench.jobs.create(SMALL | {"gate": EASY}, "small")
    send = bench.topic.send

    async def stop(topic: str, key: str, value: bytes) -> None:
        await send(topic, key, value)
        if decode(topic, value).data.get("stage") == "walk-forward":
            await bench.jobs.stop(made.id, "wrong tape")

    bench.topic.send = stop
    assert await bench.trainer.work_once()
    stopped = await bench.jobs.get(made.id)
    assert (stopped.status, stopped.result, stopped.error) == ("stopped", None, "wrong tape")


async def test_a_stop_between_the_verdict_and_the_pointer_prevents_the_promotion(
    bench, pool, redis_client, monkeypatch
) -> None:
    made = await bench.jobs.create(SMALL | {"gate": EASY}, "small")
    put = ArtifactStore.put
    loop = asyncio.get_running_loop()

    def put_and_stop(store: ArtifactStore, raw: bytes) -> str:
        """The artifacts are written after the last report, so no heartbeat can notice this stop."""
        digest = put(store, raw)
        if raw.startswith(b"{"):
            asyncio.run_coroutine_threadsafe(bench.jobs.stop(made.id, "too late?"), loop).result()
        return digest

    monkeypatch.setattr(ArtifactStore, "put", put_and_stop)
    monkeypatch.setattr(Trainer, "_beat", _silent)
    assert await bench.trainer.work_once()
    stopped = await bench.jobs.get(made.id)
    assert (stopped.status, stopped.result) == ("stopped", None)
    assert await read_pointers(redis_client) == []
    registry = Registry(pool, redis_client, SystemClock())
    assert (await registry.history(), await registry.models()) == ([], [])
    assert [e.data["status"] for e in await bench.jobs.events(made.id) if e.kind == "status"] == ["running", "stopped"]


async def _silent(self: Trainer, id: str, lost: asyncio.Event) -> None:
    """A heartbeat that never comes."""


@pytest.mark.parametrize("files", ["", "tapes"])
async def test_an_experiment_of_the_queue_cannot_read_any_file(tmp_path, pool, redis_client, files) -> None:
    (tmp_path / "tapes").mkdir()
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0\n")
    bench = Bench(tmp_path, pool, redis_client, str(tmp_path / files) if files else "")
    made = await bench.jobs.create({"source": {"kind": "file", "path": str(secret)}}, "file")
    assert await bench.trainer.work_once()
    failed = await bench.jobs.get(made.id)
    assert failed.status == "failed"
    assert "TAPELAB_TRAINER_FILES" in failed.error
    assert "root:x" not in failed.error
