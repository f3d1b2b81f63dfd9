"""A stack to measure: a broker, Redis with a model set, and the real service processes under their supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import psutil

from tapelab.cli.bench.pipeline.model import set_model
from tapelab.cli.init import initialise
from tapelab.cli.stack.backends import ApacheKafka, Backend, EmbeddedBroker, EmbeddedRedis
from tapelab.cli.stack.layout import Layout, without_foreign
from tapelab.cli.stack.postgres import EmbeddedPostgres
from tapelab.cli.stack.processes import Child
from tapelab.cli.up.supervisor import SERVICES, Supervisor
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.kafka import create_topics
from tapelab.common.runtime.patience import patiently, wait_for_broker
from tapelab.common.settings import PREFIX, BrokerKind, CommonSettings, load
from tapelab.common.storage.redis import connect
from tapelab.common.topics import ALL_TOPICS

#: In the way of the data; what the latency and the recovery of signals depend on.
CHAIN: Final = ("bars", "features", "inference")
EVERY_SERVICE: Final = ("sink", *CHAIN, "trainer", "api")
#: Prints of a bar that is decided on.
TICKS_PER_BAR: Final = 50
#: What is computed live: what the repository's own configuration had when the figures were first taken.
PIPELINE: Final = f"""\
bars: [tick:{TICKS_PER_BAR}, volume:10000, dollar:5e7]
features: [{{bars: tick:{TICKS_PER_BAR}, feature_set: core}}]
"""
_THREADS: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
_MODULES: Final = {spec.name: spec.module for spec in SERVICES}


def say(line: str) -> None:
    """Progress, on stderr: standard output holds the figures."""
    print(f"bench pipeline: {line}", file=sys.stderr, flush=True)


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """What the feeder publishes.

    Args:
        symbols: how many.
        stops: prints of each symbol after which it waits to be told to go on; up to the last of them they go out
            as fast as possible.
        rate: prints per second of all symbols together after that; 0 ends at the last stop.
        seconds: how long at that rate.
        step_ns: between two prints of a symbol, by their own clock.
        stream: number of the stream.
    """

    symbols: int
    stops: tuple[int, ...]
    rate: int = 0
    seconds: float = 0.0
    step_ns: int
    stream: int = 1


class Fed(msgspec.Struct, kw_only=True):
    """How far the feeder is: ``waiting`` at a stop, ``going``, or ``done``; ``go_ns`` is when its paced part began."""

    state: str = "going"
    published: int = 0
    late_ms: float = 0.0
    go_ns: int = 0


class Feeder:
    """The feeder's process: ingest's publishing path, driven at an exact rate."""

    def __init__(self, stack: Stack, feed: Feed) -> None:
        self._folder = stack.layout.root / f"feed-{time.monotonic_ns()}"
        self._folder.mkdir(parents=True)
        command = [
            *(sys.executable, "-m", "tapelab.cli.bench.pipeline.feeder", str(self._folder)),
            msgspec.json.encode(feed).decode(),
        ]
        self.child = Child("feeder", command, stack.environ, self._folder / "feeder.log")

    def status(self) -> Fed:
        """How far it is.

        Raises:
            TapelabError: it has failed.
        """
        if not self.child.running and self.child.returncode:
            raise self.child.failure()
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode((self._folder / "status.json").read_bytes(), type=Fed)
        return Fed()

    async def reach(self, state: str, limit_s: float = 600.0) -> Fed:
        """Wait for a state."""
        await until(f"the feeder to be {state}", lambda: self.status().state == state, limit_s)
        return self.status()

    async def go(self) -> None:
        """Let it go on from where it waits."""
        told = self._folder / "go"
        told.touch()
        await until("the feeder to go on", lambda: not told.exists(), 60.0)


class Stack(NamedTuple):
    """What runs, and how to reach it."""

    layout: Layout
    environ: dict[str, str]
    settings: CommonSettings
    supervisor: Supervisor
    broker: Backend

    def process(self, service: str) -> psutil.Process:
        """A service's process.

        Raises:
            TapelabError: it does not run.
        """
        address = self.supervisor.addresses[service].rpartition(":")[2]
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if (
                    child.cmdline()[-2:] == ["-m", _MODULES[service]]
                    and child.environ().get(f"{PREFIX}HTTP_PORT") == address
                ):
                    return child
        raise TapelabError(
            f"service {service} does not run",
            expected="its process",
            actual="none",
            remedy=f"read {self.supervisor.log(service)}",
        )

    def kill(self, service: str) -> None:
        """kill -9; the supervisor starts it again."""
        self.process(service).send_signal(signal.SIGKILL)

    def memory_mb(self, services: tuple[str, ...]) -> dict[str, float]:
        """Resident memory of services and of the broker."""
        found = {name: self.process(name).memory_info().rss / 1e6 for name in services}
        if self.broker.child is not None:
            found["broker"] = self.broker.child.memory_bytes / 1e6
        return found


@contextlib.asynccontextmanager
async def broker_of(kind: BrokerKind, folder: Path) -> AsyncIterator[tuple[Layout, Backend, dict[str, str]]]:
    """A broker alone, in a folder of its own; the settings under which it is reached."""
    layout = Layout(folder)
    layout.make()
    environ = {**without_foreign(dict(os.environ)), **_THREADS}
    broker: Backend = EmbeddedBroker(layout) if kind == "embedded" else ApacheKafka(layout, Path.cwd(), environ)
    try:
        reached = await broker.start()
        await wait_for_broker(load(CommonSettings, reached))
        yield layout, broker, reached
    finally:
        await broker.stop()


@contextlib.asynccontextmanager
async def running(
    kind: BrokerKind, folder: Path, services: tuple[str, ...] = CHAIN, *, own: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """A stack with a model that decides every vector, its services ready for work.

    Args:
        kind: which broker.
        folder: for everything it writes.
        services: which of them run; the tick sink, the trainer and the gateway bring PostgreSQL with them.
        own: further settings of all services.
    """
    async with broker_of(kind, folder) as (layout, broker, reached), contextlib.AsyncExitStack() as closing:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
        environ |= {**_THREADS, **reached, **(own or {})}
        environ.setdefault("NUMBA_CACHE_DIR", str(Path(".cache/numba").absolute()))
        environ[f"{PREFIX}ARTIFACTS"] = str(layout.artifacts)
        config = folder / "config"
        shutil.copytree("config", config)
        (config / "pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
        environ[f"{PREFIX}CONFIG_DIR"] = str(config)
        environ[f"{PREFIX}HTTP_HOST"] = "127.0.0.1"
        backends: list[Backend] = [EmbeddedRedis(layout)]
        with_database = set(services) - set(CHAIN)
        if with_database:
            backends.append(EmbeddedPostgres(layout))
        for backend in backends:
            closing.push_async_callback(backend.stop)
            environ |= await backend.start()
        settings = load(CommonSettings, {k: v for k, v in environ.items() if k.startswith(PREFIX)})
        if with_database:
            await initialise(settings)
        else:
            await patiently(lambda: create_topics(settings, ALL_TOPICS))
        supervisor = Supervisor(layout, environ)
        supervisor.configure({"api": {"TAPELAB_API_HOST": "127.0.0.1", "TAPELAB_API_PORT": "0"}})
        closing.push_async_callback(supervisor.stop_all)
        await supervisor.start(services)
        await supervisor.ready(services)
        # After the gateway's start, which makes Redis what PostgreSQL says.
        redis = connect(settings.redis_url)
        try:
            await set_model(settings, redis)
        finally:
            await redis.aclose()
        yield Stack(layout, environ, settings, supervisor, broker)


async def until(what: str, ask: Callable[[], Any], limit_s: float) -> None:
    """Ask ten times a second until the answer is true.

    Raises:
        TapelabError: it is not within the time.
    """
    deadline = time.monotonic() + limit_s
    while not ask():
        if time.monotonic() > deadline:
            raise TapelabError(
                "the bench waits in vain",
                expected=f"{what} within {limit_s:g} s",
                actual="it is not",
                remedy="see whether the machine is busy, or run this part alone (--only)",
            )
        await asyncio.sleep(0.1)
