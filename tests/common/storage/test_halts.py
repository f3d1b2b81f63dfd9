"""Halts in Redis."""

from __future__ import annotations

import pytest

from tapelab.common.errors import ConfigError, RegistryError
from tapelab.common.storage.halts import Halt, clear_halt, halt_of, halts_key, read_halts, set_halt
from tapelab.common.storage.redis import connect

NEWS = Halt(reason="news", by="me", set_ns=1)


async def test_a_halt_holds_until_it_is_cleared(redis_client):
    await set_halt(redis_client, "WINZ26", NEWS, "ns")
    assert await read_halts(redis_client, "ns") == {"WINZ26": NEWS}
    assert await read_halts(redis_client) == {}
    assert await clear_halt(redis_client, "WINZ26", "ns")
    assert not await clear_halt(redis_client, "WINZ26", "ns")
    assert await read_halts(redis_client, "ns") == {}


async def test_a_halt_of_all_holds_for_every_symbol_and_the_symbols_own_comes_first(redis_client):
    everything = Halt(reason="all", by="me", set_ns=2)
    await set_halt(redis_client, "*", everything)
    await set_halt(redis_client, "WINZ26", NEWS)
    halts = await read_halts(redis_client)
    assert halt_of(halts, "WINZ26") == NEWS
    assert halt_of(halts, "WDOZ26") == everything


async def test_a_halt_that_cannot_be_read_is_never_overlooked(redis_client):
    await redis_client.hset(halts_key(), "WINZ26", b"halted")
    with pytest.raises(RegistryError, match="WINZ26"):
        await read_halts(redis_client)


def test_an_address_with_another_scheme_is_refused():
    with pytest.raises(ConfigError, match="TAPELAB_REDIS_URL"):
        connect("http://127.0.0.1")
