"""The model registry and its pointers."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tapelab.common.clock import ManualClock
from tapelab.common.errors import RegistryError
from tapelab.common.storage.pointers import changes_channel, missing_pointer_error, pointer_key, read_pointers
from tapelab.common.storage.registry import GateRule, Registry, UnknownModel
from tests.common.storage.manifests import manifest

PASSED = [GateRule(id="net_pnl", passed=True, value=1.5, limit=0.0, reason="better than flat")]
FAILED = [*PASSED, GateRule(id="baseline", passed=False, value=0.2, limit=0.95)]


@pytest.fixture
def registry(pool, redis_client) -> Registry:
    return Registry(pool, redis_client, ManualClock(), "ns")


async def test_a_model_comes_back_as_it_was_registered_and_twice_is_once(registry):
    await registry.add_model(manifest(), "exp-1")
    row = await registry.add_model(manifest(), "exp-1")
    assert row.manifest == manifest()
    assert (row.digest, row.gate, row.passed) == (manifest().digest, None, False)
    assert [model.model_id for model in await registry.models()] == ["m1"]


async def test_an_id_taken_by_another_manifest_is_refused(registry):
    await registry.add_model(manifest(), "exp-1")
    with pytest.raises(RegistryError, match="taken"):
        await registry.add_model(manifest(bar_spec="tick:100"), "exp-2")


async def test_a_gate_is_kept_with_the_model(registry):
    await registry.add_model(manifest(), "exp-1")
    assert (await registry.record_gate("m1", PASSED)).passed
    row = await registry.record_gate("m1", FAILED)
    assert (row.gate, row.passed) == (FAILED, False)


async def test_a_promotion_is_recorded_then_visible_in_redis_and_announced(registry, redis_client):
    await registry.add_model(manifest(), "exp-1")
    listener = redis_client.pubsub()
    await listener.subscribe(changes_channel("ns"))
    await listener.get_message(timeout=1)
    pointer = await registry.set_pointer("champion", "m1", "live", reason="better", gate=PASSED)
    assert await read_pointers(redis_client, "ns") == [pointer] == await registry.pointers()
    assert await redis_client.exists("ns:tapelab:model:champion:default") == 1
    message = await listener.get_message(ignore_subscribe_messages=True, timeout=1)
    await listener.aclose()
    assert b'"model_id":"m1"' in message["data"]
    (change,) = await registry.history()
    assert (change.pointer, change.action, change.reason, change.gate) == (pointer, "set", "better", PASSED)
    assert (await registry.model("m1")).passed


async def test_an_unknown_model_cannot_be_pointed_to(registry):
    with pytest.raises(UnknownModel, match="nope"):
        await registry.set_pointer("champion", "nope", "live", reason="x")


async def test_rolling_back_returns_to_the_model_before_and_then_further(registry, redis_client):
    for name in ("a", "b", "c"):
        await registry.add_model(manifest(name), None)
    await registry.set_pointer("champion", "a", "shadow", reason="1")
    await registry.set_pointer("champion", "b", "live", reason="2")
    first = await registry.rollback("champion")
    assert (first.model_id, first.mode) == ("a", "shadow")
    with pytest.raises(RegistryError, match="rolled back"):
        await registry.rollback("champion")
    await registry.set_pointer("champion", "c", "live", reason="3")
    again = await registry.rollback("champion", reason="worse")
    assert again.model_id == "a"
    assert again.version > first.version
    assert await read_pointers(redis_client, "ns") == [again]
    assert [(c.pointer.model_id, c.action) for c in await registry.history()] == [
        ("a", "rollback"), ("c", "set"), ("a", "rollback"), ("b", "set"), ("a", "set"),
    ]  # fmt: skip


async def test_nothing_to_roll_back_is_a_clear_error(registry):
    with pytest.raises(RegistryError, match="no pointer"):
        await registry.rollback("challenger")


async def test_a_lost_redis_is_rebuilt_and_what_it_should_not_hold_is_removed(registry, redis_client):
    await registry.add_model(manifest(), "exp-1")
    await registry.set_pointer("champion", "m1", "live", reason="x")
    await registry.set_pointer("challenger", "m1", "shadow", "WINZ26", reason="x")
    wanted = await read_pointers(redis_client, "ns")
    await redis_client.flushall()
    await redis_client.set(pointer_key("champion", "WDOZ26", "ns"), b"not json")
    await registry.rebuild_redis()
    await redis_client.delete(pointer_key("champion", "WDOZ26", "ns"))
    assert await read_pointers(redis_client, "ns") == wanted == await registry.pointers()
    assert await registry.rebuild_redis() == []


async def test_a_retired_role_points_to_nothing_and_a_rollback_brings_it_back(registry, redis_client):
    for name in ("a", "b"):
        await registry.add_model(manifest(name), None)
    await registry.set_pointer("champion", "a", "live", reason="1")
    assert (await registry.retire("champion", reason="tape")).model_id == "a"
    assert await registry.retire("champion", reason="again") is None
    await registry.rebuild_redis()
    assert await read_pointers(redis_client, "ns") == [] == await registry.pointers()
    await registry.set_pointer("champion", "b", "live", reason="2")
    assert (await registry.rollback("champion")).model_id == "a"
    await registry.retire("champion", reason="tape")
    assert (await registry.rollback("champion")).model_id == "a"
    with pytest.raises(RegistryError, match="none before it"):
        await registry.rollback("champion")


async def test_a_rollback_behind_a_retirement_can_be_refused(registry):
    for name in ("a", "b", "c"):
        await registry.add_model(manifest(name), None)
    await registry.set_pointer("champion", "a", "live", reason="1")
    await registry.set_pointer("champion", "b", "live", reason="2")
    assert await registry.retirement_undone("champion") is None
    await registry.retire("champion", reason="tape")
    with pytest.raises(RegistryError, match=r"b, from before the role was retired on .* UTC \(tape\)"):
        await registry.rollback("champion", retired_too=False)
    await registry.set_pointer("champion", "c", "live", reason="3")
    assert (await registry.retirement_undone("champion")).reason == "tape"
    with pytest.raises(RegistryError, match="cannot be rolled back"):
        await registry.rollback("champion", retired_too=False)
    assert [p.model_id for p in await registry.pointers()] == ["c"]
    assert (await registry.rollback("champion")).model_id == "b"
    # What was brought back by hand is of this run; what was before it is not.
    await registry.set_pointer("champion", "c", "live", reason="4")
    assert (await registry.rollback("champion", retired_too=False)).model_id == "b"
    with pytest.raises(RegistryError, match="got a, from before"):
        await registry.rollback("champion", retired_too=False)


async def test_many_changes_at_once_leave_redis_with_the_newest(registry, redis_client):
    for name in ("a", "b"):
        await registry.add_model(manifest(name), None)
    await asyncio.gather(
        *(registry.set_pointer("champion", "ab"[n % 2], "live", reason=str(n)) for n in range(10)),
        *(registry.rebuild_redis() for _ in range(6)),
    )
    assert await read_pointers(redis_client, "ns") == await registry.pointers()


async def test_the_history_cannot_be_changed(registry, pool):
    await registry.add_model(manifest(), None)
    await registry.set_pointer("champion", "m1", "live", reason="x")
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await pool.execute("UPDATE pointer_history SET reason = 'y'")
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await pool.execute("DELETE FROM pointer_history")


async def test_no_pointer_is_an_empty_list_and_the_error_names_the_keys(redis_client):
    assert await read_pointers(redis_client) == []
    text = str(missing_pointer_error("ns"))
    assert "ns:tapelab:model:champion:default" in text
    assert "promote" in text


async def test_a_namespace_sees_only_its_own_pointers(registry, redis_client):
    await registry.add_model(manifest(), None)
    await registry.set_pointer("champion", "m1", "live", reason="x")
    assert await read_pointers(redis_client, "n*") == []
    assert await read_pointers(redis_client) == []


async def test_a_pointer_that_cannot_be_read_names_its_key(redis_client):
    await redis_client.set(pointer_key("champion", "default"), b"{}")
    with pytest.raises(RegistryError, match="tapelab:model:champion:default"):
        await read_pointers(redis_client)
