"""``tapelab up``: the main job on a local stack, from tape to signals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, TypeVar

import httpx
import msgspec

from tapelab.cli.init import initialise
from tapelab.cli.stack.backends import ApacheKafka, Backend, EmbeddedBroker, EmbeddedRedis
from tapelab.cli.stack.layout import Layout, StackFile, without_foreign
from tapelab.cli.stack.ports import free_port
from tapelab.cli.stack.postgres import EmbeddedPostgres
from tapelab.cli.up.embedded_limits import EmbeddedLimits
from tapelab.cli.up.job import Job
from tapelab.cli.up.observer import SignalObserver
from tapelab.cli.up.options import Result, UpOptions, read_experiment
from tapelab.cli.up.screen import Screen
from tapelab.cli.up.supervisor import SERVICES, Deaths, Supervisor
from tapelab.common.clock import Clock
from tapelab.common.settings import CommonSettings, load

#: One thread per process for the linear algebra that libraries do on the side: the services share cores.
_ENVIRON = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


#: How long after a process's end what talked to it may fail first.
_NOTICED_S: Final = 0.5

T = TypeVar("T")


async def up(options: UpOptions, layout: Layout, clock: Clock, screen: Screen) -> Result | None:
    """Run until the tape has given enough signals, or until it is told to stop (then None).

    Raises:
        TapelabError: an option is wrong, another stack runs in the same folder, or something failed; the
            message then names the service and its log file.
    """
    experiment = read_experiment(options.experiment)
    with layout.owned():
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        # SIGHUP: the terminal was closed.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stopping.set)
        run = _Run(options, experiment, layout, clock, screen)
        try:
            work = asyncio.create_task(run.work())
            stop = asyncio.create_task(stopping.wait())
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                screen.phase("stopping")
                await _cancelled(work)
                return None
            stop.cancel()
            return work.result()
        finally:
            await run.close()


class _Run:
    """One run: what it started, so that it can be stopped in order."""

    def __init__(
        self, options: UpOptions, experiment: dict[str, Any], layout: Layout, clock: Clock, screen: Screen
    ) -> None:
        self._options = options
        self._experiment = experiment
        self._layout = layout
        self._clock = clock
        self._screen = screen
        self._started_ns = clock.monotonic_ns()
        self._backends: list[Backend] = []
        self._supervisor: Supervisor | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = contextlib.AsyncExitStack()

    async def work(self) -> Result | None:
        """Start everything, do the job, keep showing it."""
        self._screen.phase("starting broker, PostgreSQL and Redis")
        environ = await self._start_backends()
        return await _unless(self._watch_backends(), self._job(environ))

    async def _job(self, environ: dict[str, str]) -> Result | None:
        screen, options = self._screen, self._options
        settings = load(CommonSettings, {k: v for k, v in environ.items() if k.startswith("TAPELAB_")})
        screen.phase("creating topics and schema")
        await initialise(settings)
        page_port = free_port(options.port)
        page = f"http://127.0.0.1:{page_port}/dashboard/ai-lab/"
        supervisor = Supervisor(self._layout, environ, screen.note)
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
        gateway = f"http://127.0.0.1:{page_port}"
        job = Job(options, self._experiment, settings, self._clock, screen, supervisor, observer, gateway)
        self._closing.push_async_callback(job.close)
        await job.prepare()
        screen.phase("starting the services")
        names = tuple(spec.name for spec in SERVICES)
        await supervisor.start(names)
        screen.begin(page)
        following = asyncio.create_task(observer.follow())
        self._tasks += [following, asyncio.create_task(self._draw(supervisor, page_port))]
        return await _unless({supervisor.failed, following}, job.run(self._started_ns))

    async def close(self) -> None:
        """Stop everything that was started, services first; what fails to stop keeps nothing else from it."""
        await _attempt("the screen", self._end_screen())
        await _cancelled(*self._tasks)
        if self._supervisor is not None:
            await _attempt("the services", self._supervisor.stop_all())
        await _attempt("a connection", self._closing.aclose())
        for backend in reversed(self._backends):
            await _attempt(backend.name, backend.stop())

    async def _end_screen(self) -> None:
        self._screen.end()

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

    def _watch_backends(self) -> set[asyncio.Future[None]]:
        watched: set[asyncio.Future[None]] = set()
        for backend in self._backends:
            if backend.child is not None:
                task = asyncio.create_task(self._keep(backend))
                self._tasks.append(task)
                watched.add(task)
        return watched

    async def _keep(self, backend: Backend) -> None:
        """Start a part of the stack again whenever it dies.

        Raises:
            TapelabError: it dies again and again, or does not start.
        """
        child = backend.child
        deaths = Deaths()
        while child is not None:
            code = await child.wait()
            if deaths.too_many(asyncio.get_running_loop().time()):
                raise child.failure()
            self._screen.note(f"{backend.name} has ended (exit code {code}) and is started again")
            await asyncio.sleep(deaths.pause_s)
            child.restarts += 1
            lost = await backend.restart()
            self._screen.note(f"{backend.name} runs again: {lost}")

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

    async def _draw(self, supervisor: Supervisor, port: int) -> None:
        status: dict[str, Any] | None = None
        limits = EmbeddedLimits()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=2.0) as http:
            while True:
                with contextlib.suppress(httpx.HTTPError, msgspec.DecodeError):
                    answer = await http.get("/ml/data/status")
                    if answer.status_code == 200:
                        status = msgspec.json.decode(answer.content)
                if self._options.broker == "embedded":
                    for text in limits.reached(self._broker_memory(), status):
                        self._screen.note(text)
                alive = {spec.name: supervisor.up(spec.name) for spec in SERVICES}
                self._screen.show(status, alive, supervisor.restarts)
                await asyncio.sleep(0.5)

    def _broker_memory(self) -> int:
        return sum(b.child.memory_bytes for b in self._backends if b.name == "broker" and b.child is not None)


async def _unless(failures: set[asyncio.Future[None]], doing: Coroutine[Any, Any, T]) -> T:
    """The result of ``doing``; a failure that comes before it, or that explains why it broke, is raised instead."""
    work = asyncio.create_task(doing)
    try:
        either: set[asyncio.Future[Any]] = {work, *failures}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if work.done() and work.exception() is not None:
            # What broke may have done so because a part of the stack has died, which is noticed a moment later.
            await asyncio.wait(failures, timeout=_NOTICED_S, return_when=asyncio.FIRST_COMPLETED)
        for failure in failures:
            if failure.done():
                failure.result()
        return await work
    finally:
        await _cancelled(work)


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    """End tasks. A client library may swallow a single cancellation, so it is repeated until they have ended."""
    while waiting := {task for task in tasks if not task.done()}:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=3.0)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _attempt(what: str, stop: Awaitable[None]) -> None:
    try:
        await stop
    except Exception as error:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(f"tapelab: could not stop {what}: {type(error).__name__}: {error}", file=sys.stderr)
