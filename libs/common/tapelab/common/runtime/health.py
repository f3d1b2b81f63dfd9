"""``/healthz``, ``/readyz`` and ``/metrics``, served from a thread, so that a busy loop still answers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from tapelab.common.runtime.readiness import Readiness

#: A loop that has not turned for so long is stuck for good: a liveness probe restarts the process. Only after
#: the first readiness, since a start may compile for longer; that one is the start-up probe's.
STUCK_S: Final = 60.0


class Health:
    """What the pages say.

    Args:
        service: the service's name.
        still_s: for how long its event loop has not turned.
    """

    def __init__(
        self, service: str, readiness: Readiness, registry: CollectorRegistry, still_s: Callable[[], float]
    ) -> None:
        self._service = service
        self._readiness = readiness
        self._registry = registry
        self._still_s = still_s

    def page(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", generate_latest(self._registry)
        status, said = self._answer(path)
        return status, "application/json", msgspec.json.encode(said)

    def _answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if path == "/healthz":
            still_s = self._still_s()
            alive = still_s < STUCK_S or not self._readiness.was_ready
            said: dict[str, Any] = {"service": self._service, "alive": alive}
            if not alive:
                said["detail"] = (
                    f"the event loop is stuck: expected a turn within {STUCK_S:g} s, got none for {still_s:.0f} s; "
                    "restart the process, which recovers"
                )
            return (200 if alive else 503), said
        if path == "/readyz":
            page = self._readiness.page()
            return (200 if page["ready"] else 503), {"service": self._service, **page}
        return 404, {"detail": "expected /healthz, /readyz or /metrics"}


def serve(health: Health, host: str, port: int) -> ThreadingHTTPServer:
    """Serve the pages from a thread.

    Raises:
        OSError: the address is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        """Three fixed pages."""

        def do_GET(self) -> None:
            """Answer a GET."""
            status, kind, body = health.page(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Health checks are not worth a log line."""

    class Server(ThreadingHTTPServer):
        """Says nothing of a client that did not wait for its answer: the log is one JSON object per line."""

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Called within the handling of an exception."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    server = Server((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
