"""A halt that would close nothing is refused."""

from __future__ import annotations

import asyncio

import pytest

from tapelab.cli.commands.connect import connected
from tapelab.common.storage.halts import read_halts
from tapelab.common.storage.streams import allocate_stream


async def _see(symbol: str) -> None:
    async with connected() as stack:
        await allocate_stream(stack.pool, symbol, "test", "l")


async def _halted() -> list[str]:
    async with connected() as stack:
        return list(await read_halts(stack.redis, stack.settings.namespace))


def test_a_symbol_that_nobody_knows_is_refused_with_those_that_are_known(command, storage) -> None:
    asyncio.run(_see("odd.one"))
    done = command("halt", "WINXYZ", "--reason", "news")
    assert done.code == 1
    (line,) = done.err.splitlines()
    for said in ("WINXYZ", "odd.one", "WIN(FUT|", "--force"):
        assert said in line
    assert asyncio.run(_halted()) == []
    assert command("halt", "WINXYZ", "--reason", "news", "--force").code == 0
    assert asyncio.run(_halted()) == ["WINXYZ"]


def test_a_symbol_that_was_seen_or_is_an_instrument_is_halted(command, storage) -> None:
    asyncio.run(_see("odd.one"))
    assert command("halt", "odd.one", "--reason", "news") == (0, "halted odd.one: news\n", "")
    done = command("halt", "WINZ26", "--reason", "news")
    assert done.code == 0
    assert done.err == "note: the stack has seen no print of WINZ26 yet, only of: odd.one\n"
    assert command("halt", "--reason", "all").code == 0
    assert asyncio.run(_halted()) == ["*", "WINZ26", "odd.one"]


def test_a_halt_needs_no_configuration(command, storage, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPELAB_CONFIG_DIR", str(tmp_path))
    asyncio.run(_see("WINZ26"))
    assert command("halt", "WINZ26", "--reason", "news").code == 0
    done = command("halt", "WINF27", "--reason", "news")
    assert done.code == 1
    assert "instruments.yaml" in done.err
    assert "--force" in done.err


def test_a_resume_of_what_is_not_halted_says_what_is(command, storage) -> None:
    command("halt", "WINZ26", "--reason", "news")
    assert command("resume", "WINZ62").out == "WINZ62 was not halted; halted: WINZ26\n"
    assert command("resume", "WINZ26").out == "resumed WINZ26\n"
    assert command("resume", "WINZ26").out == "WINZ26 was not halted; halted: none\n"


def test_an_emergency_stop_needs_no_database(command, storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPELAB_POSTGRES_DSN", "postgresql://u@127.0.0.1:1/x")
    done = command("halt", "WINZ26", "--reason", "news")
    assert (done.code, done.out) == (0, "halted WINZ26: news\n")
    assert done.err.startswith("warning: it holds, but PostgreSQL does not answer")
    done = command("resume", "WINZ26")
    assert done.code == 1
    assert "bring the database back first" in done.err
