"""``tapelab up``: the main job on a local stack, from tape to signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any, Final

import httpx
import msgspec

from tapelab.cli.init import initialise
from tapelab.cli.stack.backends import ApacheKafka, Backend, EmbeddedBroker, EmbeddedPostgres, EmbeddedRedis
from tapelab.cli.stack.layout import Layout, StackFile, without_foreign
from tapelab.cli.stack.ports import free_port
from tapelab.cli.up.job import Job
from tapelab.cli.up.observer import SignalObserver
from tapelab.cli.up.options import Result, UpOptions
from tapelab.cli.up.screen import Screen
from tapelab.cli.up.supervisor import SERVICES, Supervisor
from tapelab.common.clock import Clock
from tapelab.common.errors import TapelabError
from tapelab.common.settings import CommonSettings, load

#: One thread per process for the linear algebra that libraries do on the side: the services share cores.
_ENVIRON = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


#: The embedded broker forgets nothing; beyond this the user is told.
BROKER_MEMORY_BYTES: Final = 2 << 30


async def up(options: UpOptions, layout: Layout, clock: Clock, screen: Screen) -> Result | None:
    """Run until the tape has given enough signals, or until Ctrl-C (then None).

    Raises:
        TapelabError: something failed; the message names the service and its log file.
    """
    running = layout.read()
    if running is not None and running.pid != os.getpid():
        raise TapelabError(
            "a stack is running already",
            expected=f"no other 'tapelab up' in {layout.root}",
            actual=f"process {running.pid}, page {running.page}",
            remedy="run 'tapelab down', or set TAPELAB_RUN_DIR to another folder",
        )
    layout.make()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    run = _Run(options, layout, clock, screen, stopping)
    try:
        work = asyncio.create_task(run.work())
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            screen.phase("stopping")
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            return None
        stop.cancel()
        return work.result()
    finally:
        screen.end()
        await run.close()


class _Run:
    """One run: what it started, so that it can be stopped in order."""

    def __init__(
        self, options: UpOptions, layout: Layout, clock: Clock, screen: Screen, stopping: asyncio.Event
    ) -> None:
        self._options = options
        self._layout = layout
        self._clock = clock
        self._screen = screen
        self._stopping = stopping
        self._started_ns = clock.monotonic_ns()
        self._backends: list[Backend] = []
        self._supervisor: Supervisor | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def work(self) -> Result | None:
        """Start everything, do the job, keep showing it."""
        screen, options = self._screen, self._options
        screen.phase("starting broker, PostgreSQL and Redis")
        environ = await self._start_backends()
        settings = load(CommonSettings, {k: v for k, v in environ.items() if k.startswith("TAPELAB_")})
        screen.phase("creating topics and schema")
        await initialise(settings)
        page_port = free_port(options.port)
        page = f"http://127.0.0.1:{page_port}/dashboard/ai-lab/"
        supervisor = Supervisor(self._layout, environ)
        self._supervisor = supervisor
        supervisor.configure(
            {
                "ingest": self._ingest_settings(),
                "api": {
                    "TAPELAB_API_HOST": "127.0.0.1",
                    "TAPELAB_API_PORT": str(page_port),
                    "TAPELAB_API_PAGE_DIR": str(options.repository / "frontend" / "out"),
                    "TAPELAB_API_SERVICES": ",".join(f"{n}={a}" for n, a in supervisor.addresses.items() if n != "api"),
                },
            }
        )
        self._layout.write(
            StackFile(
                pid=os.getpid(),
                environ={k: v for k, v in environ.items() if k.startswith("TAPELAB_")},
                page=page,
                services=supervisor.addresses,
            )
        )
        observer = SignalObserver(settings, self._clock)
        job = Job(options, settings, self._clock, screen, supervisor, observer, f"http://127.0.0.1:{page_port}")
        await job.prepare()
        screen.phase("starting the services")
        names = tuple(spec.name for spec in SERVICES)
        await supervisor.start(names)
        screen.begin()
        self._tasks.append(asyncio.create_task(observer.follow()))
        self._tasks.append(asyncio.create_task(self._draw(supervisor, page, page_port)))
        work = asyncio.create_task(job.run(self._started_ns))
        watched: set[asyncio.Future[Any]] = {work, supervisor.failed, *self._tasks[:1], *self._watch_backends()}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for done in watched:
                if done.done() and done is not work:
                    done.result()
            return await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def close(self) -> None:
        """Stop everything that was started, services first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._supervisor is not None:
            await self._supervisor.stop_all()
            if self._supervisor.failed.done():
                self._supervisor.failed.exception()
        for backend in reversed(self._backends):
            await backend.stop()
        self._layout.file.unlink(missing_ok=True)

    async def _start_backends(self) -> dict[str, str]:
        environ = {**without_foreign(dict(os.environ)), **_ENVIRON}
        environ.setdefault("NUMBA_CACHE_DIR", str(self._options.repository.absolute() / ".cache" / "numba"))
        if self._options.broker == "kafka":
            broker: Backend = ApacheKafka(self._layout, self._options.repository, environ)
        else:
            broker = EmbeddedBroker(self._layout)
        self._backends = [EmbeddedPostgres(self._layout), EmbeddedRedis(self._layout), broker]
        for reached in await asyncio.gather(*(backend.start() for backend in self._backends)):
            environ.update(reached)
        environ["TAPELAB_ARTIFACTS"] = str(self._layout.artifacts)
        environ["TAPELAB_CONFIG_DIR"] = str(self._options.config_dir.absolute())
        environ["TAPELAB_HTTP_HOST"] = "127.0.0.1"
        return environ

    def _watch_backends(self) -> set[asyncio.Future[Any]]:
        watched: set[asyncio.Future[Any]] = set()
        for backend in self._backends:
            if backend.child is not None:
                task = asyncio.create_task(_died(backend))
                self._tasks.append(task)
                watched.add(task)
        return watched

    def _ingest_settings(self) -> dict[str, str]:
        options = self._options
        settings = {
            "TAPELAB_INGEST_SOURCE": options.source,
            "TAPELAB_INGEST_SPEED": options.speed,
            "TAPELAB_INGEST_CUT": str(options.cut),
            "TAPELAB_INGEST_SEED": str(options.seed),
        }
        if options.tape is not None:
            settings["TAPELAB_INGEST_PATH"] = str(options.tape.absolute())
            settings["TAPELAB_INGEST_REJECTS"] = str(self._layout.root / "rejects.csv")
        if options.format:
            settings["TAPELAB_INGEST_FORMAT"] = options.format
        if options.dsn:
            settings["TAPELAB_INGEST_DSN"] = options.dsn
        return settings

    async def _draw(self, supervisor: Supervisor, page: str, port: int) -> None:
        status: dict[str, Any] | None = None
        warned = False
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=2.0) as http:
            while True:
                with contextlib.suppress(httpx.HTTPError, msgspec.DecodeError):
                    answer = await http.get("/ml/data/status")
                    if answer.status_code == 200:
                        status = msgspec.json.decode(answer.content)
                if not warned and self._broker_memory() > BROKER_MEMORY_BYTES:
                    warned = True
                    self._screen.note(
                        f"the embedded broker keeps its log in memory and now holds {BROKER_MEMORY_BYTES >> 30} GiB; "
                        "use BROKER=kafka for long runs"
                    )
                alive = {spec.name: supervisor.up(spec.name) for spec in SERVICES}
                self._screen.show(status, alive, supervisor.restarts, page)
                await asyncio.sleep(0.5)

    def _broker_memory(self) -> int:
        if self._options.broker != "embedded":
            return 0
        return sum(b.child.memory_bytes for b in self._backends if b.name == "broker" and b.child is not None)


async def _died(backend: Backend) -> None:
    """Fail when a part of the stack that is not a service ends by itself."""
    if backend.child is not None:
        await backend.child.wait()
        raise backend.child.failure()
