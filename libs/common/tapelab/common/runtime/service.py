"""The life of a service process: settings, logs, health, metrics, a clean stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest

from tapelab.common.clock import Clock, SystemClock
from tapelab.common.errors import TapelabError
from tapelab.common.settings import CommonSettings, load

#: Less than what a supervisor grants before it kills (10 s of ``tapelab up`` and of containers).
STOP_S: Final = 8.0


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
        self._not_ready: str | None = "starting"
        self._detail = ""
        self._waits: dict[str, str] = {}

    def ready(self, reason: str | None = None, *, detail: str = "") -> None:
        """Say whether the service can do its work: ready without a reason, else why not.

        ``detail`` is shown beside a readiness that has something to add (waiting for a model, ...).
        """
        self._not_ready = reason
        self._detail = detail

    def waiting(self, dependency: str, why: str) -> None:
        """A dependency (``broker``, ``postgres``, ``redis``) does not answer; not ready until it does."""
        self._waits[dependency] = why

    def answered(self, dependency: str) -> None:
        """A dependency answers (again)."""
        self._waits.pop(dependency, None)

    @property
    def readiness(self) -> tuple[bool, str]:
        """Ready or not, and what there is to say about it."""
        said = [f"waiting for {what}: {why}" for what, why in sorted(self._waits.items())]
        said += [text for text in (self._not_ready or self._detail,) if text]
        return self._not_ready is None and not self._waits, "; ".join(said)

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
    loop = asyncio.get_running_loop()
    # Not the loop's own handlers: they wait for their turn, and a loop that is busy (compiling a kernel) has none.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(ctx, loop))
    ProcessCollector(registry=ctx.registry)
    PlatformCollector(registry=ctx.registry)
    GCCollector(registry=ctx.registry)
    try:
        server = serve_health(ctx)
    except OSError as error:
        ctx.log.error(
            f"cannot listen on {settings.http_host}:{settings.http_port}: expected a free port, got {error}; "
            "set TAPELAB_HTTP_PORT to another one"
        )
        return 1
    ctx.log.info("started", extra={"fields": {"http_port": server.server_address[1]}})
    try:
        await main(ctx)
    except TapelabError as error:
        ctx.log.error(str(error))
        return 1
    except Exception:
        ctx.log.exception("failed")
        return 1
    finally:
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


def serve_health(ctx: ServiceContext) -> ThreadingHTTPServer:
    """Serve ``/healthz`` (the process lives), ``/readyz`` (it can work) and ``/metrics`` from a thread."""

    class Handler(BaseHTTPRequestHandler):
        """Three fixed pages."""

        def do_GET(self) -> None:
            """Answer a GET."""
            status, kind = 200, "application/json"
            if self.path == "/healthz":
                body = msgspec.json.encode({"service": ctx.name, "alive": True})
            elif self.path == "/readyz":
                is_ready, detail = ctx.readiness
                status = 200 if is_ready else 503
                body = msgspec.json.encode({"service": ctx.name, "ready": is_ready, "detail": detail})
            elif self.path == "/metrics":
                body, kind = generate_latest(ctx.registry), "text/plain; version=0.0.4; charset=utf-8"
            else:
                status, body = 404, msgspec.json.encode({"detail": "expected /healthz, /readyz or /metrics"})
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Health checks are not worth a log line."""

    server = ThreadingHTTPServer((ctx.settings.http_host, ctx.settings.http_port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, service, message, and the record's ``fields``."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line of a log record."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure_logs(service: str, level: str) -> None:
    """Structured logs on standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # The client logs every connection attempt at start; what matters reaches us as errors.
    logging.getLogger("aiokafka").setLevel("CRITICAL" if level != "DEBUG" else "DEBUG")
