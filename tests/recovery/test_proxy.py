"""The proxy itself: what its faults look like from both sides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tapelab.cli.stack.ports import free_port
from tests.recovery.proxy import Proxy

pytestmark = pytest.mark.recovery


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy in front of a server that answers with what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    port = free_port()
    server = await asyncio.start_server(echo, "127.0.0.1", port)
    async with Proxy(("127.0.0.1", port)) as made:
        yield made
    server.close()


async def ask(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"ping")
    return reader, writer


async def test_it_passes_on_and_delays(proxy: Proxy) -> None:
    proxy.latency_s = 0.1
    began = time.monotonic()
    reader, writer = await ask(proxy)
    assert await reader.readexactly(4) == b"ping"
    assert time.monotonic() - began > 0.19
    writer.close()


async def test_a_reset_ends_connections_and_serves_new_ones(proxy: Proxy) -> None:
    reader, writer = await ask(proxy)
    assert await reader.readexactly(4) == b"ping"
    await proxy.reset()
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    reader, writer = await ask(proxy)
    assert await reader.readexactly(4) == b"ping"
    writer.close()


async def test_half_open_connections_hold_everything_back_until_they_heal(proxy: Proxy) -> None:
    proxy.swallow()
    reader, writer = await ask(proxy)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(1), 0.2)
    proxy.heal()
    assert await reader.readexactly(4) == b"ping"
    writer.close()


async def test_a_cut_refuses_until_it_listens_again(proxy: Proxy) -> None:
    await proxy.cut()
    with pytest.raises(ConnectionRefusedError):
        await ask(proxy)
    await proxy.listen()
    reader, writer = await ask(proxy)
    assert await reader.readexactly(4) == b"ping"
    writer.close()
