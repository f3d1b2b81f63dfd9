"""A connection of its own that tells when the broker is gone.

Clients hide an outage: they retry inside, and a consumer without records looks the same as one without a
broker. The link asks every second and says so. Where the log does not outlive the broker's process, a
broken connection is enough: what answers next may hold an empty log, and nothing of the old one may go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from tapelab.common.errors import ConfigError
from tapelab.common.runtime.capabilities import capabilities
from tapelab.common.settings import CommonSettings

#: Begins every reason that speaks of the broker itself.
UNREACHABLE: Final = "no broker answers"
PING_EVERY_S: Final = 1.0
#: A broker that does not answer for so long, twice, is gone (stopped, cut off). Twice, because a process that was
#: stopped itself finds its first question expired when it wakes, whatever the broker said.
PING_TIMEOUT_S: Final = 4.0
#: How long looking for another broker of the cluster may take, for each of them.
CONNECT_TIMEOUT_S: Final = 3.0


class BrokerLink:
    """Connects to any broker of the cluster and watches it."""

    def __init__(self, settings: CommonSettings) -> None:
        self._durable = capabilities(settings).durable
        self._addresses = [_address(part) for part in settings.broker.split(",")]
        self._connection: AIOKafkaConnection | None = None

    async def open(self) -> str | None:
        """Connect to the first broker that answers; why none did, None when one has."""
        reasons = []
        for host, port in self._addresses:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    self._connection = await create_conn(host, port, request_timeout_ms=int(PING_TIMEOUT_S * 1e3))
                    await self._ping()
                return None
            except (KafkaError, OSError, TimeoutError) as error:
                self.close()
                reasons.append(f"{host}:{port}: {_said(error)}")
        return f"{UNREACHABLE} ({'; '.join(reasons)})"

    async def watch(self) -> str:
        """Wait until the broker is gone; why it is taken to be."""
        while True:
            await self._pause()
            reason = await self.asked()
            if reason is None:
                continue
            self.close()
            if not self._durable:
                return reason
            # Another broker of the cluster, or this one again, holds the same log.
            again = await self.open()
            if again is not None:
                return again

    async def asked(self) -> str | None:
        """Ask now: why the broker is taken to be gone, None when it answers."""
        if self._connection is None:
            return await self.open() if self._durable else f"{UNREACHABLE} (not connected)"
        try:
            try:
                await self._ping()
            except TimeoutError:
                await self._ping()
        except (KafkaError, OSError, TimeoutError) as error:
            return f"{UNREACHABLE} (the connection broke: {_said(error)})"
        return None

    def close(self) -> None:
        """Drop the connection, without waiting for whoever holds the other end."""
        if self._connection is not None:
            cut(self._connection)
            self._connection = None

    async def _pause(self) -> None:
        """Wait for the next question, or until the connection breaks by itself."""
        assert self._connection is not None
        closed = self._connection._closed_fut
        if not closed.done():
            await asyncio.wait([closed], timeout=PING_EVERY_S)

    async def _ping(self) -> None:
        assert self._connection is not None
        answer = await self._connection.send(MetadataRequest([]))
        known = [(str(host), int(port)) for _, host, port, *_ in answer.brokers]
        # The cluster's other brokers answer when this one is gone.
        self._addresses += [address for address in known if address not in self._addresses]


def cut(connection: Any) -> None:
    """Close a connection at once: closing it politely waits until a dead peer has read everything."""
    writer = connection._writer
    if writer is not None:
        writer.transport.abort()
    with contextlib.suppress(OSError):
        connection.close()


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.strip().rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(
            "TAPELAB_BROKER is wrong",
            expected="HOST:PORT, or several of them separated by commas",
            actual=repr(server),
            remedy="correct the setting",
        )
    return host.strip("[]"), int(port)


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
