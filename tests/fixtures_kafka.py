"""Brokers for tests: the embedded one, one Apache Kafka per session, a cluster of three for broker failures.

They live in a thread with an event loop of its own, so that one broker serves tests with different loops; every
method blocks until it is done, and a test that must not block calls it through ``asyncio.to_thread``.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tapelab.cli.stack.backends import ApacheKafka, EmbeddedBroker
from tapelab.cli.stack.layout import Layout
from tapelab.cli.stack.ports import free_port

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[1]
_NAMES = itertools.count()


class LoopThread:
    """An event loop in a thread, for processes that outlive a test's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="brokers", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Broker:
    """A broker's process: started, killed, frozen and started again at the same address."""

    def __init__(
        self, thread: LoopThread, backend: EmbeddedBroker | ApacheKafka, route: tuple[int, int] = (0, 0)
    ) -> None:
        self._thread = thread
        self._backend = backend
        self.environ: Mapping[str, str] = {}
        #: Where a proxy must listen, and where the broker expects what it passes on.
        self.proxy_port, self.behind_port = route

    @property
    def proxied(self) -> dict[str, str]:
        """Settings of clients that reach it through a proxy at ``proxy_port``."""
        return {**self.environ, "TAPELAB_BROKER": f"127.0.0.1:{self.proxy_port}"}

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._backend.child is not None
        assert self._backend.child.pid is not None
        return self._backend.child.pid

    async def begin(self) -> None:
        """Start it, within the thread."""
        self.environ = await self._backend.start()

    def start(self) -> None:
        """Start it; an Apache Kafka goes on with its log."""
        self._thread.run(self.begin())

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        os.killpg(self.pid, signal.SIGKILL)
        assert self._backend.child is not None
        self._thread.run(self._backend.child.wait())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal (SIGSTOP, SIGCONT)."""
        os.killpg(self.pid, number)

    def stop(self) -> None:
        """Stop it for good."""
        self._thread.run(self._backend.stop())


class Cluster:
    """Three brokers; any one of them may be away."""

    def __init__(self, thread: LoopThread, nodes: list[Broker], ports: list[int]) -> None:
        self._thread = thread
        self.nodes = nodes
        bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports)
        self.environ = {
            "TAPELAB_BROKER": bootstrap,
            "TAPELAB_BROKER_KIND": "kafka",
            "TAPELAB_REPLICATION_FACTOR": "3",
        }

    def start(self) -> None:
        """Start all at once: a quorum needs two."""

        async def together() -> None:
            await asyncio.gather(*(node.begin() for node in self.nodes))

        self._thread.run(together())

    def stop(self) -> None:
        """Stop all; nothing needs to be handed over, so they may go the quick way."""
        for node in self.nodes:
            node.kill()


def need_kafka() -> None:
    """Skip where Apache Kafka cannot run; under ``CI=true`` that is a failure."""
    missing = missing_for_kafka()
    if not missing:
        return
    said = f"Apache Kafka's tests need {missing}; install it, on Debian or Ubuntu: apt-get install " + (
        "openjdk-17-jre-headless maven"
    )
    if os.environ.get("CI") == "true":
        pytest.fail(said)
    pytest.skip(said)


def missing_for_kafka() -> str:
    """What Apache Kafka lacks on this machine; empty if nothing."""
    if shutil.which("java") is None:
        return "a Java 17 runtime (java) on the PATH"
    if not any((REPOSITORY / ".cache/kafka").glob("kafka_*.jar")) and shutil.which("mvn") is None:
        return "Maven (mvn) on the PATH, which fetches its jars"
    return ""


def two_listeners(proxy: int, behind: int) -> dict[str, str]:
    """Settings of a node with a listener besides, whose clients are sent to a proxy's port."""
    return {
        "listeners": f"PLAINTEXT://127.0.0.1:{{port}},PROXIED://127.0.0.1:{behind},"
        "CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{{port}},PROXIED://127.0.0.1:{proxy}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT",
    }


def java_environ() -> dict[str, str]:
    """What a Java process gets of this one's environment."""
    return {k: v for k, v in os.environ.items() if not k.startswith("TAPELAB_")}


@pytest.fixture(scope="session")
def broker_thread() -> Iterator[LoopThread]:
    """Where brokers live."""
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def embedded_broker(broker_thread: LoopThread) -> Iterator[Broker]:
    """An embedded broker of the test's own, at a port that it keeps."""
    with tempfile.TemporaryDirectory(prefix="tlb-") as folder:
        broker = Broker(broker_thread, EmbeddedBroker(Layout(Path(folder))))
        broker.start()
        yield broker
        broker.stop()


@pytest.fixture
def embedded_behind_proxy(broker_thread: LoopThread) -> Iterator[Broker]:
    """An embedded broker that sends every client, the test's own too, to the proxy's port."""
    proxy, behind = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="tlb-") as folder:
        backend = EmbeddedBroker(Layout(Path(folder)), port=behind, advertised=proxy)
        broker = Broker(broker_thread, backend, (proxy, behind))
        broker.start()
        yield broker
        broker.stop()


@pytest.fixture(scope="session")
def apache_kafka(broker_thread: LoopThread) -> Iterator[Broker]:
    """The session's Apache Kafka: it can be killed and started again with its log; share it by namespaces.

    Clients that come through a proxy have a listener of their own, which sends them to the proxy again.
    """
    need_kafka()
    proxy, behind = free_port(), free_port()
    properties = two_listeners(proxy, behind)
    with tempfile.TemporaryDirectory(prefix="tlk-") as folder:
        backend = ApacheKafka(Layout(Path(folder)), REPOSITORY, java_environ(), properties=properties, keep_log=True)
        broker = Broker(broker_thread, backend, (proxy, behind))
        broker.start()
        yield broker
        broker.kill()


@pytest.fixture
def kafka_cluster(broker_thread: LoopThread) -> Iterator[Cluster]:
    """Three Apache Kafka brokers in combined mode: three copies of everything, two of them must answer."""
    need_kafka()
    ports = [(free_port(), free_port()) for _ in range(3)]
    with tempfile.TemporaryDirectory(prefix="tlc-") as folder:
        nodes = [
            Broker(
                broker_thread,
                ApacheKafka(
                    Layout(Path(folder) / str(number)),
                    REPOSITORY,
                    java_environ(),
                    properties=_of_three(number, [controller for _, controller in ports]),
                    ports=ports[number - 1],
                    heap="256m",
                    keep_log=True,
                ),
            )
            for number in (1, 2, 3)
        ]
        cluster = Cluster(broker_thread, nodes, [port for port, _ in ports])
        cluster.start()
        yield cluster
        cluster.stop()


@pytest.fixture
def namespace() -> str:
    """A prefix of topics, groups and keys that no other test of the session has."""
    return f"t{os.getpid()}x{next(_NAMES)}"


def _of_three(number: int, controllers: list[int]) -> dict[str, str]:
    voters = ",".join(f"{i}@127.0.0.1:{port}" for i, port in enumerate(controllers, 1))
    return {
        "node.id": str(number),
        "controller.quorum.voters": voters,
        "min.insync.replicas": "2",
        "default.replication.factor": "3",
        "offsets.topic.replication.factor": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
        # A broker that was killed is noticed sooner than after the usual 9 s.
        "broker.session.timeout.ms": "6000",
        "broker.heartbeat.interval.ms": "500",
        # A busy machine with three Java machines on it must neither elect controllers all the time ...
        "controller.quorum.fetch.timeout.ms": "8000",
        "controller.quorum.election.timeout.ms": "3000",
        "controller.quorum.request.timeout.ms": "5000",
        # ... nor run more threads than it needs. (Copies fall out of the set with their broker's session.)
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
    }
