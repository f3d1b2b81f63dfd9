"""From Redis to the context: what is taken over, what is refused, and what is said."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tapelab.common.clock import SystemClock
from tapelab.common.errors import ModelMismatch
from tapelab.common.serving.manifest import encode_manifest
from tapelab.common.storage.halts import Halt, halts_key
from tapelab.common.storage.pointers import Pointer, delete_pointer, pointer_key, write_pointer
from tapelab.inference.context import view_of
from tapelab.inference.models import Models
from tapelab.inference.source import ContextSource
from tests.common.serving.models import MemoryStore, manifest, model_txt
from tests.fixtures_storage import RedisServer
from tests.services.inference.vectors import COSTS, PAIR

NEWS = Halt(reason="news", by="me", set_ns=1)


async def _set_halt(redis: Any, symbol: str, halt: Halt) -> None:
    await redis.hset(halts_key(), symbol, msgspec.json.encode(halt))


class World:
    """A source over a real Redis, models in memory, and what it said."""

    def __init__(self, redis, caplog: pytest.LogCaptureFixture) -> None:
        self.redis = redis
        self.store = MemoryStore()
        self.models = Models(self.store, {PAIR})
        self.detail = ""
        caplog.set_level(logging.INFO)
        self._caplog = caplog
        self.source = ContextSource(redis, "", self.models, COSTS, logging.getLogger("test"), SystemClock(), self._tell)

    def _tell(self, detail: str) -> None:
        self.detail = detail

    def said(self, part: str) -> int:
        return sum(part in record.getMessage() for record in self._caplog.records)

    def model(self, model_id: str, **changes) -> str:
        """Digest of a stored model."""
        files = changes.pop("files", {"model.txt": self.store.put(model_txt())})
        return self.store.put(encode_manifest(manifest(files, model_id=model_id, **changes)))

    async def point(self, model_id: str, digest: str, *, role="champion", symbol="default", version=1) -> None:
        mode = "live" if role == "champion" else "shadow"
        pointer = Pointer(
            role=role, symbol=symbol, model_id=model_id, digest=digest, mode=mode, version=version, set_ns=5
        )
        await write_pointer(self.redis, pointer)

    def held(self) -> dict[str, str]:
        return {f"{b.role} of {b.symbol}": b.model_id for b in view_of(self.source.current).pointers}


@pytest.fixture
def world(redis_client, caplog: pytest.LogCaptureFixture) -> World:
    return World(redis_client, caplog)


async def test_pointers_and_halts_become_canonical_bytes(world: World) -> None:
    digest = world.model("m1")
    await world.point("m1", digest, role="challenger", symbol="AAA")
    await world.point("m1", digest)
    await _set_halt(world.redis, "BBB", NEWS)
    assert await world.source.refresh()
    context = msgspec.json.decode(world.source.current)
    assert [(p["role"], p["symbol"], p["digest"]) for p in context["pointers"]] == [
        ("challenger", "AAA", digest),
        ("champion", "default", digest),
    ]
    assert context["halts"] == {"BBB": "news"}
    assert context["pointers"][0]["decision"]["threshold"] == 0.0
    assert world.detail == ""
    before = world.source.current
    await world.source.refresh()
    assert world.source.current is before
    assert world.said("context changed") == 2  # halts at once, models when they are loaded


async def test_a_missing_key_is_named_with_the_remedy_once(world: World) -> None:
    for _ in range(3):
        assert await world.source.refresh()
    assert world.detail.startswith("waiting for a model: no model is set: expected a model pointer in Redis key ")
    assert "tapelab:model:champion:default" in world.detail
    assert "got neither key exists; train and promote a model" in world.detail
    assert world.said("waiting for a model") == 1
    await world.point("m1", world.model("m1"))
    await world.source.refresh()
    assert (world.detail, world.held()) == ("", {"champion of default": "m1"})


async def test_a_model_of_another_feature_set_is_refused_and_the_one_before_stays(world: World) -> None:
    await world.point("m1", world.model("m1"))
    await world.source.refresh()
    before = world.source.current
    await world.point("m2", world.model("m2", feature_set_id="f" * 16), version=2)
    for _ in range(3):
        await world.source.refresh()
    assert world.source.current == before
    assert "staying with m1 as champion of default: model m2" in world.detail
    assert "expected bars tick:50 with feature set 0123456789abcdef" in world.detail
    assert f"got bars tick:50 with feature set {'f' * 16}" in world.detail
    assert "promote a model of a live pair" in world.detail
    assert world.said("staying with m1") == 1


async def test_a_wrong_model_file_is_refused_and_halts_pass_all_the_same(world: World) -> None:
    await world.point("m1", world.model("m1"))
    await world.source.refresh()
    wrong = world.store.put(b"no model")
    await world.point("m2", world.model("m2", files={"model.txt": wrong}), version=2)
    await _set_halt(world.redis, "*", NEWS)
    await world.source.refresh()
    assert world.held() == {"champion of default": "m1"}
    assert view_of(world.source.current).halt_reason("AAA") == "news"
    assert "a model file cannot be loaded by LightGBM: expected a binary classifier" in world.detail


async def test_altered_and_missing_artifacts_are_refused(world: World) -> None:
    digest = world.model("m1")
    world.store.files[digest] += b" "
    await world.point("m1", digest)
    await world.point("m2", "ab" * 32, role="challenger")
    await world.source.refresh()
    assert world.held() == {}
    assert "no model takes its place as champion of default: the manifest" in world.detail
    assert "expected an artifact of sha256 abab" in world.detail


async def test_a_pointer_that_names_another_model_than_its_digest_is_refused(world: World) -> None:
    await world.point("m2", world.model("m1"))
    await world.source.refresh()
    assert "expected model m2, got m1 under its digest" in world.detail


async def test_a_retired_model_goes(world: World) -> None:
    await world.point("m1", world.model("m1"))
    await world.source.refresh()
    await delete_pointer(world.redis, "champion", "default")
    await world.source.refresh()
    assert world.held() == {}
    assert world.detail.startswith("waiting for a model")


async def test_an_unreadable_pointer_or_halt_changes_nothing_and_is_said(world: World) -> None:
    await world.point("m1", world.model("m1"))
    await _set_halt(world.redis, "AAA", NEWS)
    await world.source.refresh()
    before = world.source.current
    await world.redis.set(pointer_key("champion", "default"), b"{}")
    await world.redis.hset(halts_key(), "AAA", b"what")
    await world.source.refresh()
    assert world.source.current == before
    assert "staying with the models in use: Redis key tapelab:model:champion:default" in world.detail
    assert "staying with the halts in force" in world.detail


async def test_while_redis_is_away_the_last_context_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.point("m1", world.model("m1"))
    await world.source.refresh()
    before = world.source.current

    async def away(section: str) -> None:
        raise RedisConnectionError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(world.redis, "info", away)
        for _ in range(3):
            assert not await world.source.refresh()
    assert world.source.current == before
    assert "Redis does not answer, staying with the last models and halts: connection refused" in world.detail
    assert world.said("Redis does not answer") == 1
    assert await world.source.refresh()
    assert world.detail == ""


async def test_a_frozen_redis_is_noticed_within_seconds_said_once_and_shown(
    world: World, redis_server: RedisServer
) -> None:
    await world.point("m1", world.model("m1"))
    assert await world.source.refresh()
    before = world.source.current
    with redis_server.frozen():
        frozen_at = time.monotonic()
        assert not await world.source.refresh()
        assert time.monotonic() - frozen_at < 5
        assert not await world.source.refresh()  # fails on its way to a connection, in other words
    assert "Redis does not answer, staying with the last models and halts" in world.detail
    assert world.said("Redis does not answer") == 1
    assert world.source.current == before
    assert await world.source.refresh()
    assert world.detail == ""


async def test_a_redis_that_came_back_empty_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.point("m1", world.model("m1"))
    await _set_halt(world.redis, "AAA", NEWS)
    await world.source.refresh()
    before = world.source.current

    async def restarted(section: str) -> dict[str, str]:
        return {"run_id": "another"}

    monkeypatch.setattr(world.redis, "info", restarted)
    await world.redis.flushdb()
    await world.source.refresh()
    assert world.source.current == before
    assert "Redis came back empty, staying with the last models and halts" in world.detail


@contextlib.asynccontextmanager
async def following(source: ContextSource, poll_ms: int) -> AsyncIterator[None]:
    task = asyncio.create_task(source.follow(poll_ms))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_an_announced_pointer_is_taken_over_long_before_the_next_poll(world: World) -> None:
    digest = world.model("m1")
    async with following(world.source, 60_000):
        await until(lambda: world.detail.startswith("waiting"))
        await world.point("m1", digest)
        await until(lambda: world.held() == {"champion of default": "m1"})


async def test_a_halt_is_taken_over_with_the_next_poll(world: World) -> None:
    async with following(world.source, 20):
        await until(lambda: world.detail.startswith("waiting"))
        await _set_halt(world.redis, "AAA", NEWS)
        await until(lambda: view_of(world.source.current).halt_reason("AAA") == "news")


async def test_models_that_nothing_names_are_forgotten_last_used_first(world: World) -> None:
    digests = [world.model(f"m{i}") for i in range(30)]
    for digest in digests:
        await world.models.load(digest)
    assert world.models[digests[0]]
    world.models.trim(in_use=2)
    assert world.models[digests[0]]
    with pytest.raises(KeyError):
        world.models[digests[1]]


async def test_a_recorded_context_whose_model_is_gone_is_an_error(world: World) -> None:
    await world.point("m1", world.model("m1"))
    await world.source.refresh()
    (bound,) = view_of(world.source.current).pointers
    world.store.files.clear()
    assert (await world.models.load(bound.digest)).manifest.model_id == "m1"
    with pytest.raises(ModelMismatch):
        await Models(world.store, {PAIR}).load(bound.digest)
