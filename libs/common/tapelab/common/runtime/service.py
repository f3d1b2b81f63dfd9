"""The life of a service process: settings, logs, health, metrics, a clean stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, PlatformCollector, ProcessCollector

from tapelab.common.clock import Clock, SystemClock
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.garbage import Garbage
from tapelab.common.runtime.health import Health, serve
from tapelab.common.runtime.logs import configure_logs
from tapelab.common.runtime.loop_monitor import LoopMonitor
from tapelab.common.runtime.readiness import Readiness
from tapelab.common.runtime.tracing import Tracing, open_tracing
from tapelab.common.settings import CommonSettings, load

#: Less than what a supervisor grants before it kills (10 s of ``tapelab up`` and of containers).
STOP_S: Final = 8.0
#: How long a computing thread keeps the interpreter from the event loop. With the usual 5 ms a timer of 10 ms woke
#: 55 to 61 ms late (median, beside a thread that encodes records, on busy cores), with this 22 to 27 ms; the
#: thread did as much work per second of its processor time.
SWITCH_S: Final = 0.001


class ServiceContext:
    """What a service's main function is given."""

    def __init__(
        self,
        name: str,
        settings: CommonSettings,
        environ: Mapping[str, str],
        *,
        clock: Clock | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.environ = environ
        self.clock: Clock = clock or SystemClock()
        self.log = log or logging.getLogger(f"tapelab.{name}")
        self.stopping = asyncio.Event()
        self.asked_to_stop = False
        self.registry = CollectorRegistry()
        #: None unless OpenTelemetry's own variables ask for traces.
        self.tracing: Tracing | None = None
        self.states = Readiness(self.clock)
        #: Called once, when the service is ready for the first time: its start is over.
        self.on_started: Callable[[], None] = lambda: None
        ready = Gauge("tapelab_ready", "1 where the service can do its work.", registry=self.registry)
        ready.set_function(lambda: float(self.states.ready))
        self._up = Gauge(
            "tapelab_dependency_up", "1 where a dependency answers.", ("dependency",), registry=self.registry
        )
        self._reconnects = Counter(
            "tapelab_reconnects", "Outages of a dependency that are over.", ("dependency",), registry=self.registry
        )

    def ready(self, reason: str | None = None, *, detail: str = "") -> None:
        """Say whether the service can do its work: ready without a reason, else why not.

        ``detail`` is shown beside a readiness that has something to add (waiting for a model, ...).
        """
        first = reason is None and not self.states.was_ready
        self.states.set(reason, detail)
        if first:
            self.on_started()

    def waiting(self, dependency: str, why: str) -> None:
        """A dependency (``broker``, ``postgres``, ``redis``) does not answer; not ready until it does.

        Call it as often as it is tried in vain; logging it is the caller's.
        """
        self.states.wait_for(dependency, why)
        self._up.labels(dependency).set(0)

    def answered(self, dependency: str) -> None:
        """A dependency answers (again)."""
        self._up.labels(dependency).set(1)
        if self.states.answered(dependency):
            self._reconnects.labels(dependency).inc()

    def recovering(self, partitions: Iterable[int]) -> None:
        """The state of partitions is being restored; not ready until :meth:`recovered`."""
        self.states.recovering(partitions)

    def recovered(self, partitions: Iterable[int]) -> None:
        """These partitions are at work, or no longer this process's."""
        self.states.recovered(partitions)

    @property
    def readiness(self) -> tuple[bool, str]:
        """Ready or not, and what there is to say about it."""
        return self.states.ready, self.states.detail

    async def stopped_within(self, seconds: float) -> bool:
        """Wait for the stop request at most so long; True if it came."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return False
        return True


def run_service(name: str, environ: Mapping[str, str], main: Callable[[ServiceContext], Awaitable[None]]) -> None:
    """Run a service until it is told to stop (SIGTERM, SIGINT) or fails; exits the process.

    A failure is one log line with expected, actual and remedy, and exit code 1.
    """
    try:
        settings = load(CommonSettings, environ)
    except TapelabError as error:
        configure_logs(name, "INFO")
        logging.getLogger(f"tapelab.{name}").error(str(error))
        sys.exit(1)
    configure_logs(name, settings.log_level)
    sys.exit(asyncio.run(_run(name, settings, environ, main)))


async def _run(
    name: str,
    settings: CommonSettings,
    environ: Mapping[str, str],
    main: Callable[[ServiceContext], Awaitable[None]],
) -> int:
    ctx = ServiceContext(name, settings, environ)
    sys.setswitchinterval(SWITCH_S)
    loop = asyncio.get_running_loop()
    # Not the loop's own handlers: they wait for their turn, and a loop that is busy (compiling a kernel) has none.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(ctx, loop))
    ProcessCollector(registry=ctx.registry)
    PlatformCollector(registry=ctx.registry)
    GCCollector(registry=ctx.registry)
    garbage = Garbage(ctx.registry, ctx.log, ctx.clock)
    monitor = LoopMonitor(ctx.registry, ctx.log, garbage, ctx.clock)

    def started() -> None:
        garbage.settle()
        monitor.arm()

    ctx.on_started = started
    garbage.watch()
    monitor.start()
    health = Health(name, ctx.states, ctx.registry, lambda: monitor.still_s)
    try:
        server = serve(health, settings.http_host, settings.http_port)
    except OSError as error:
        ctx.log.error(
            f"cannot listen on {settings.http_host}:{settings.http_port}: expected a free port, got {error}; "
            "set TAPELAB_HTTP_PORT to another one"
        )
        return 1
    ctx.log.info("started", extra={"fields": {"http_port": server.server_address[1]}})
    try:
        ctx.tracing = open_tracing(name, settings.instance, environ)
        await main(ctx)
    except TapelabError as error:
        ctx.log.error(str(error))
        return 1
    except Exception:
        ctx.log.exception("failed")
        return 1
    finally:
        if ctx.tracing is not None:
            ctx.tracing.close()
        monitor.stop()
        garbage.release()
        server.shutdown()
        server.server_close()
    ctx.log.info("stopped")
    return 0


def _stop(ctx: ServiceContext, loop: asyncio.AbstractEventLoop) -> None:
    """Ask the service to stop, and end the process where it does not.

    What it waits for may be gone (a database that was killed with the rest of the stack), and nobody may be left
    to kill it. Ending like this is a kill -9, which every service survives.
    """
    if ctx.asked_to_stop:
        return
    ctx.asked_to_stop = True
    loop.call_soon_threadsafe(ctx.stopping.set)

    def give_up() -> None:
        ctx.log.error(f"did not stop within {STOP_S:g} s of being asked to; ending as it is")
        os._exit(1)

    deadline = threading.Timer(STOP_S, give_up)  # a thread: the event loop may be what hangs
    deadline.daemon = True
    deadline.start()
