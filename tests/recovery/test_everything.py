"""kill -9 of all that tapelab runs: ingest plays its source again, a training run is taken over, the gateway returns.

Prints come from the product's own ingest here. Every kill of it begins a new stream, so each stream on the topic must
be the beginning of the tape, the newest one all of it, and what follows from each of them must be there once.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx
import msgspec
import pytest

from tapelab.common import topics
from tapelab.common.codec import Identity, decode, identity
from tapelab.common.runtime.reader import read_topic
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.settings import CommonSettings
from tapelab.common.sources.detect import open_tape
from tapelab.common.storage.redis import connect, key
from tapelab.ingest.status import STATUS_KEY, ReplayStatus
from tapelab.quant.ticks import Ticks
from tests.fixtures_kafka import Broker
from tests.recovery.faults import kills, strike
from tests.recovery.rig import SERVICES, Rig
from tests.recovery.scene import scene

pytestmark = [pytest.mark.recovery, pytest.mark.stack]

_EXPERIMENT = {
    "source": {"kind": "file", "format": "simulator", "path": "seed=3,days=2,hours=1.5"},
    "model": {"n_estimators": 60, "num_leaves": 8, "min_data": 40},
    "validation": {"n_folds": 3},
    "gate": {"n_boot": 2_000},
}


@pytest.mark.parametrize(
    ("count", "hours"),
    [
        pytest.param(12, 0.5, marks=pytest.mark.timeout(600)),
        pytest.param(60, 4.0, marks=[pytest.mark.recovery_long, pytest.mark.timeout(1800)]),
    ],
)
async def test_every_service_is_killed(broker: Broker, namespace: str, seed: int, count: int, hours: float) -> None:
    tape = f"seed={seed},days=1,hours={hours},symbols=WINZ26+WDOZ26"
    http = httpx.AsyncClient(timeout=5.0, trust_env=False)
    async with http, scene(broker.environ, namespace, seed) as world:
        rig = world.rig
        gateway = Gateway(http, rig.api_port)
        await rig.start("api", "trainer")
        await rig.ready()
        killed = await gateway.train("killed")
        await rig.start(
            "ingest",
            TAPELAB_INGEST_SIMULATOR=tape,
            TAPELAB_INGEST_CUT="none",
            TAPELAB_INGEST_SPEED="60",
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kill_in_training(rig, gateway, killed, random.Random(seed)))
            await rig.working("ingest")
            await strike(rig, kills(seed, count - 1, (*SERVICES, "ingest", "api")))
        await rig.ready()
        taken_over = await gateway.trained(killed)
        untouched = await gateway.trained(await gateway.train("untouched"))
        assert taken_over == untouched, "a training run that was killed makes the same model"
        await played_to_its_end(rig.settings)
        world.feeder.sent += await published(rig.settings, whole(tape))
        found = await world.sound(timeout_s=90 + 3 * count)  # the log is long, and all of it is computed again
        assert found.signals > 100
        assert rig.faults["kill -9"] == count
        assert not rig.deaths, "\n".join(rig.deaths)


class Gateway:
    """Asks the gateway, again where it has just died."""

    def __init__(self, http: httpx.AsyncClient, port: int) -> None:
        self._http = http
        self._base = f"http://127.0.0.1:{port}"

    async def ask(self, path: str, **sent: Any) -> Any:
        """The answer to a question, within a minute."""
        async with asyncio.timeout(60):
            while True:
                try:
                    answer = await self._http.request("POST" if sent else "GET", self._base + path, **sent)
                    if answer.status_code < 500:
                        assert answer.is_success, answer.text
                        return answer.json()
                except httpx.HTTPError:
                    assert not sent, "a request that changes something is not made twice"
                await asyncio.sleep(0.1)

    async def train(self, name: str) -> str:
        """Queue the experiment under a name; its id."""
        made = await self.ask("/ml/experiments", json={"config": {**_EXPERIMENT, "name": name}})
        return str(made["id"])

    async def trained(self, id: str) -> dict[str, str]:
        """The files of the model that an experiment makes, once it has: sha256 by name."""
        async with asyncio.timeout(240):
            while (found := await self.ask(f"/ml/experiments/{id}"))["status"] in ("queued", "running"):
                await asyncio.sleep(0.2)
        assert found["status"] == "done", found["error"]
        model = await self.ask(f"/ml/models/{found['result']['model_id']}")
        files: dict[str, str] = model["manifest"]["files"]
        return files


async def kill_in_training(rig: Rig, gateway: Gateway, id: str, rng: random.Random) -> None:
    """Kill the trainer while it works on an experiment."""
    while (await gateway.ask(f"/ml/experiments/{id}"))["progress"] <= 0.0:
        await asyncio.sleep(0.02)
    await asyncio.sleep(rng.uniform(0.0, 0.3))
    await rig.kill("trainer")
    assert (await gateway.ask(f"/ml/experiments/{id}"))["status"] == "running", "it was too late to kill it"


async def played_to_its_end(settings: CommonSettings) -> None:
    """Wait until ingest has nothing left to play."""
    redis = connect(settings.redis_url)
    try:
        async with asyncio.timeout(600):
            while True:
                raw = await redis.get(key(settings.namespace, STATUS_KEY))
                status = None if raw is None else msgspec.json.decode(raw, type=ReplayStatus)
                if status is not None and status.state == "done":
                    return
                await asyncio.sleep(0.2)
    finally:
        await redis.aclose()


def whole(tape: str) -> dict[str, Ticks]:
    """All prints of a simulated tape, by symbol."""
    chunks: dict[str, list[Ticks]] = {}
    for chunk in open_tape(tape, format="simulator").chunks():
        chunks.setdefault(chunk.symbol, []).append(chunk.ticks)
    return {symbol: Ticks.concatenate(parts) for symbol, parts in chunks.items()}


async def published(settings: CommonSettings, tape: dict[str, Ticks]) -> list[TickBatch]:
    """What ingest has put on the topic, once every stream of it is known to be a part of the tape."""
    streams: dict[Identity, list[TickBatch]] = {}
    for record in await read_topic(settings, topics.TICKS):
        batch: TickBatch = decode(topics.TICKS, record.value)
        streams.setdefault(identity(batch), []).append(batch)
    for who, batches in streams.items():
        ends = [0, *(batch.first_seq + batch.n for batch in batches)]
        assert [batch.first_seq for batch in batches] == ends[:-1], f"{who}: a print is missing or came twice"
        prints = Ticks.concatenate([batch.ticks() for batch in batches])
        for column, found, wanted in zip(Ticks._fields, prints, tape[who.symbol].slice(0, prints.n), strict=True):
            assert found.tobytes() == wanted.tobytes(), f"{who}: {column} is not the tape's"
    for symbol, prints in tape.items():
        numbers = [who.stream for who in streams if who.symbol == symbol]
        newest = next(batches for who, batches in streams.items() if (who.symbol, who.stream) == (symbol, max(numbers)))
        assert newest[-1].first_seq == prints.n, f"{symbol} was not played to its end"
        assert len(numbers) > 1, "ingest did not die in the middle of its tape"
    return [batch for batches in streams.values() for batch in batches]
