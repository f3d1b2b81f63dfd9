"""What is under test, as real processes: the services of the way from prints to signals, PostgreSQL, Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import psutil
import yaml

from tapelab.cli.init import initialise
from tapelab.cli.stack.backends import EmbeddedRedis
from tapelab.cli.stack.layout import Layout
from tapelab.cli.stack.ports import free_port
from tapelab.cli.stack.postgres import EmbeddedPostgres
from tapelab.cli.stack.processes import Child
from tapelab.common.settings import CommonSettings, load
from tests.fixtures_kafka import REPOSITORY, java_environ
from tests.recovery.model import Champions

#: On the way of the data, in its order; the sink hangs off the first topic.
STAGES = ("bars", "features", "inference")
SERVICES = ("sink", *STAGES)
_MODULES = {"sink": "tapelab.ingest.sink"}
#: What tells that a service has worked since it started; of the others being ready has to do.
_WORK = {
    **dict.fromkeys(STAGES, "tapelab_records_in_total"),
    "sink": "tapelab_sink_rows_total",
    "ingest": "tapelab_ingest_ticks_total",
}

PIPELINE = {"bars": ["tick:10", "volume:400"], "features": [{"bars": "tick:10", "feature_set": "core"}]}


class Recovery(NamedTuple):
    """How long a service was not ready after something was done to it."""

    service: str
    fault: str
    seconds: float


class Service:
    """One process of a stage; ``name`` tells its replicas apart."""

    def __init__(self, name: str, stage: str, environ: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.stage = stage
        self.port = free_port()
        self.peak_bytes = 0
        self.kills = 0
        self._child = Child(
            name,
            [sys.executable, "-m", _MODULES.get(stage, f"tapelab.{stage}")],
            {**environ, "TAPELAB_HTTP_PORT": str(self.port)},
            log,
        )

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child.running

    @property
    def last_words(self) -> str:
        """What it logged last."""
        return self._child.last_words()

    @property
    def returncode(self) -> int | None:
        """Exit code once it has ended."""
        return self._child.returncode

    async def start(self) -> None:
        """Start it."""
        await self._child.start()

    async def wait(self) -> None:
        """Wait until it has ended."""
        await self._child.wait()

    async def stop(self) -> None:
        """Ask it to stop."""
        self.measure()
        await self._child.stop()

    def send(self, number: signal.Signals) -> None:
        """Send a signal; none to a process that has ended."""
        if self._child.running and self._child.pid is not None:
            os.killpg(self._child.pid, number)

    def measure(self) -> int:
        """Its highest resident memory so far."""
        try:
            status = Path(f"/proc/{self._child.pid}/status").read_text()
            peak = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            return self.peak_bytes
        self.peak_bytes = max(self.peak_bytes, peak)
        return peak

    async def ready(self, http: httpx.AsyncClient) -> bool:
        """Whether it says that it can work."""
        try:
            return (await http.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def metric(self, http: httpx.AsyncClient, name: str) -> float:
        """Sum of a metric's samples; 0 while it does not answer."""
        try:
            text = (await http.get(f"http://127.0.0.1:{self.port}/metrics")).text
        except httpx.HTTPError:
            return 0.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    async def owned(self, http: httpx.AsyncClient) -> int:
        """How many partitions it owns and has recovered; none while it does not answer."""
        try:
            text = (await http.get(f"http://127.0.0.1:{self.port}/metrics")).text
        except httpx.HTTPError:
            return 0
        return sum(line.startswith("tapelab_snapshot_age_seconds{") for line in text.splitlines())

    async def taken(self, http: httpx.AsyncClient) -> float:
        """Steps (rows, prints) it has finished since it started: what the steps wrote is acknowledged."""
        if self.stage not in _WORK:
            return float(await self.ready(http))
        return await self.metric(http, _WORK[self.stage])


class Rig:
    """Starts, kills and restarts the services; use it as a context.

    Args:
        broker: settings under which the services reach the broker.
        namespace: prefix of this rig's topics.
        direct: settings under which the test itself reaches the broker, where the services go through a proxy.
    """

    def __init__(self, broker: Mapping[str, str], namespace: str, *, direct: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tlrig-"))
        self.folder.chmod(0o755)  # PostgreSQL runs as a user of its own
        self._layout = Layout(self.folder / "run")
        self._broker = {**broker, "TAPELAB_NAMESPACE": namespace}
        self._direct = {**(direct or broker), "TAPELAB_NAMESPACE": namespace}
        self.environ: dict[str, str] = {}
        self.postgres = EmbeddedPostgres(self._layout)
        self.redis = EmbeddedRedis(self._layout)
        self.services: dict[str, Service] = {}
        self.api_port = free_port()
        self.recoveries: list[Recovery] = []
        self.faults: dict[str, int] = {}
        self._http = httpx.AsyncClient(timeout=2.0, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._keep: set[str] = set()  # services that are started again when they end by themselves
        self.deaths: list[str] = []

    async def __aenter__(self) -> Rig:
        try:
            self._layout.make()
            reached: dict[str, str] = {}
            for found in await asyncio.gather(self.postgres.start(), self.redis.start()):
                reached |= found
            self._configure()
            self.environ = {
                **java_environ(),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONUNBUFFERED": "1",
                "NUMBA_CACHE_DIR": str(REPOSITORY / ".cache" / "numba"),
                **self._broker,
                **reached,
                "TAPELAB_ARTIFACTS": str(self._layout.artifacts),
                "TAPELAB_CONFIG_DIR": str(self.folder / "config"),
                "TAPELAB_API_PORT": str(self.api_port),
                "TAPELAB_HTTP_HOST": "127.0.0.1",
                "TAPELAB_INFERENCE_BATCH_MS": "100",
                "TAPELAB_INFERENCE_POLL_MS": "200",
            }
            await initialise(self.settings)
            self.champions = Champions(self.settings)
            await self.champions.crown()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None = None, *_: Any) -> None:
        self._keep.clear()
        if kind is not None:
            kept = REPOSITORY / "test-artifacts" / "recovery" / self._broker["TAPELAB_NAMESPACE"]
            shutil.copytree(self._layout.logs, kept, dirs_exist_ok=True)
            print(f"logs of the services: {kept}")
        for service in self.services.values():
            service.send(signal.SIGCONT)
            service.send(signal.SIGKILL)
        for backend in (self.postgres, self.redis):
            if backend.child is not None and backend.child.running:
                self.thaw_backend(backend)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()
        await asyncio.gather(self.postgres.stop(), self.redis.stop())
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def settings(self) -> CommonSettings:
        """Settings under which the test reaches everything."""
        reached = {**self.environ, **self._direct}
        return load(CommonSettings, {k: v for k, v in reached.items() if k.startswith("TAPELAB_")})

    def _configure(self) -> None:
        shutil.copytree(REPOSITORY / "config", self.folder / "config")
        (self.folder / "config" / "pipeline.yaml").write_text(yaml.safe_dump(PIPELINE))

    async def start(self, *stages: str, replica: str = "", **environ: str) -> None:
        """Start a process of each stage; one that ends by itself is started again, as a supervisor would."""
        for stage in stages:
            name = stage + replica
            log = self._layout.logs / f"{name}.log"
            service = Service(name, stage, {**self.environ, **environ}, log)
            self.services[name] = service
            self._keep.add(name)
            await service.start()
            self._task(self._watch(service))

    async def stop(self, name: str) -> None:
        """Stop a process for good."""
        self._keep.discard(name)
        await self.services[name].stop()

    async def kill(self, *names: str) -> None:
        """kill -9 some processes at once and start them again."""
        for name in names:
            self.count("kill -9")
            self.services[name].measure()
            self.services[name].send(signal.SIGKILL)
        await asyncio.sleep(0)

    async def kill_backend(self, backend: EmbeddedPostgres | EmbeddedRedis) -> None:
        """kill -9 of PostgreSQL or Redis; :meth:`revive` starts it again."""
        self.count(f"kill -9 of {backend.name}")
        assert backend.child is not None
        assert backend.child.pid is not None
        os.killpg(backend.child.pid, signal.SIGKILL)
        await backend.child.wait()

    async def revive(self, backend: EmbeddedPostgres | EmbeddedRedis) -> None:
        """Start PostgreSQL (with its data) or Redis (empty) again at the same address."""
        for key, value in (await backend.start()).items():
            assert self.environ[key] == value, "it came back under another address"

    def freeze_backend(self, backend: EmbeddedPostgres | EmbeddedRedis) -> None:
        """SIGSTOP of PostgreSQL or Redis with all their processes: connections stand and nothing answers."""
        self.count(f"SIGSTOP of {backend.name}")
        for process in _family(backend):
            with contextlib.suppress(psutil.NoSuchProcess):  # a worker of PostgreSQL that has just ended
                process.suspend()

    def thaw_backend(self, backend: EmbeddedPostgres | EmbeddedRedis) -> None:
        """SIGCONT."""
        for process in _family(backend):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def freeze(self, name: str) -> None:
        """SIGSTOP."""
        self.count("SIGSTOP")
        self.services[name].send(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        self.services[name].send(signal.SIGCONT)

    async def ready(self, *names: str, timeout_s: float = 120) -> None:
        """Wait until the processes (all of them by default) say that they can work."""
        deadline = time.monotonic() + timeout_s
        for name in names or tuple(self.services):
            while not await self.services[name].ready(self._http):
                assert time.monotonic() < deadline, f"{name} is not ready within {timeout_s} s\n{self.story()}"
                await asyncio.sleep(0.05)

    async def working(self, *names: str, timeout_s: float = 120) -> None:
        """Wait until the processes have taken records since they started."""
        deadline = time.monotonic() + timeout_s
        for name in names:
            while not await self.services[name].taken(self._http):
                assert time.monotonic() < deadline, f"{name} takes no record within {timeout_s} s\n{self.story()}"
                await asyncio.sleep(0.05)

    async def going_on(self, *names: str, timeout_s: float = 120) -> None:
        """Wait until the processes have taken records from now on: they work after what was done last."""
        before = {name: await self.services[name].taken(self._http) for name in names}
        deadline = time.monotonic() + timeout_s
        for name in names:
            while await self.services[name].taken(self._http) in (0.0, before[name]):
                assert time.monotonic() < deadline, f"{name} takes no more records within {timeout_s} s\n{self.story()}"
                await asyncio.sleep(0.05)

    async def signalling(self, timeout_s: float = 120) -> None:
        """Wait until inference has made signals from now on, of vectors that are warm."""
        service = self.services["inference"]
        before = await service.metric(self._http, "tapelab_records_out_total")
        deadline = time.monotonic() + timeout_s
        while await service.metric(self._http, "tapelab_records_out_total") in (0.0, before):
            assert time.monotonic() < deadline, f"no signals within {timeout_s} s\n{self.story()}"
            await asyncio.sleep(0.05)

    async def owning(self, counts: Mapping[str, int], timeout_s: float = 120) -> None:
        """Wait until each process owns so many partitions."""
        deadline = time.monotonic() + timeout_s
        while True:
            owned = {name: await self.services[name].owned(self._http) for name in counts}
            if owned == dict(counts):
                return
            assert time.monotonic() < deadline, (
                f"expected partitions {dict(counts)} within {timeout_s} s, got {owned}\n{self.story()}"
            )
            await asyncio.sleep(0.1)

    async def after(self, seconds: float) -> None:
        """Let so much time pass."""
        await asyncio.sleep(seconds)

    def count(self, fault: str) -> None:
        """A fault was done."""
        self.faults[fault] = self.faults.get(fault, 0) + 1

    async def _watch(self, service: Service) -> None:
        while service.name in self._keep:
            await service.wait()
            if service.name not in self._keep:
                return
            if service.returncode != -signal.SIGKILL:
                self.deaths.append(f"{service.name} ended by itself ({service.returncode}): {service.last_words}")
                await asyncio.sleep(0.2)
            else:
                service.kills += 1
            await service.start()
            await self._time("kill -9", service)

    async def _time(self, fault: str, service: Service) -> None:
        began = time.monotonic()
        while service.running and not await service.ready(self._http):
            await asyncio.sleep(0.02)
        if service.running:
            self.recoveries.append(Recovery(service.name, fault, time.monotonic() - began))

    def _task(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def peaks(self) -> dict[str, int]:
        """Highest resident memory of every process, in bytes."""
        for service in self.services.values():
            service.measure()
        return {name: service.peak_bytes for name, service in self.services.items()}

    def story(self) -> str:
        """What went wrong in the services' own words."""
        lines = [
            f"{name}: {'runs' if s.running else 'down'}; {s.last_words[:600]}" for name, s in self.services.items()
        ]
        return "\n".join([*lines, *self.deaths[-5:], f"faults: {self.faults}"])


def _family(backend: EmbeddedPostgres | EmbeddedRedis) -> list[psutil.Process]:
    assert backend.child is not None
    parent = psutil.Process(backend.child.pid)
    return [parent, *parent.children(recursive=True)]


async def sink_rows(settings: CommonSettings) -> dict[tuple[str, int], list[tuple[int, float, float]]]:
    """(seq, price, volume) of every row in ``ticks_raw``, by symbol and stream."""
    found: dict[tuple[str, int], list[tuple[int, float, float]]] = {}
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        for row in await connection.fetch("SELECT symbol, stream, seq, price, volume FROM ticks_raw ORDER BY 1, 2, 3"):
            found.setdefault((row["symbol"], row["stream"]), []).append((row["seq"], row["price"], row["volume"]))
    finally:
        await connection.close()
    return found
