"""A TCP proxy that misbehaves on request: it delays, resets, swallows, or is not there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final

from tapelab.cli.stack.ports import free_port

_CHUNK: Final = 65_536


class Proxy:
    """Between clients and one server.

    Args:
        target: the server: ``(host, port)``, or the path of its unix socket.
        port: where it listens; clients that follow advertised addresses must be told this one.
    """

    def __init__(self, target: tuple[str, int] | str, port: int = 0) -> None:
        self.port = port or free_port()
        self.latency_s = 0.0
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()
        self._clients: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Proxy:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def listen(self) -> None:
        """Be there."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Be gone: connections end, and new ones are refused."""
        if self._server is not None:
            self._server.close()
        await self._drop()
        if self._server is not None:
            await self._server.wait_closed()
        self._server = None

    async def reset(self) -> None:
        """End every connection with a reset; new ones are served."""
        for client in self._clients:
            # A close with time 0 to linger is a reset.
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await self._drop()

    def swallow(self) -> None:
        """Half open: connections stand, new ones are accepted, and nothing passes in either direction."""
        self._open.clear()

    def heal(self) -> None:
        """Pass everything on again, what was held back first."""
        self.latency_s = 0.0
        self._open.set()

    async def _drop(self) -> None:
        for pair in self._pairs:
            pair.cancel()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of its own: the server would log one that is cancelled as a failure.
        pair = asyncio.create_task(self._serve(reader, writer))
        self._pairs.add(pair)
        self._clients.add(writer)

        def gone(_: object) -> None:
            writer.close()  # also where the task was cancelled before it began
            self._pairs.discard(pair)
            self._clients.discard(writer)

        pair.add_done_callback(gone)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sides = [writer]
        try:
            # Where one side ends, so does the other: it is told by the close below.
            with contextlib.suppress(OSError, ExceptionGroup):
                await self._open.wait()
                answers, upstream = await self._connect()
                sides.append(upstream)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(reader, upstream))
                    both.create_task(self._pump(answers, writer))
        except asyncio.CancelledError:
            for side in sides:
                side.transport.abort()  # what is on the way is lost, and no socket outlives the proxy
            raise
        finally:
            for side in sides:
                side.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            await self._open.wait()
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError  # the group of both directions ends together
