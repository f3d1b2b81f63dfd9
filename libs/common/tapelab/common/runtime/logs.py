"""Structured logs: one JSON object per line, with the trace of the record it is about."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import msgspec

from tapelab.common.clock import Clock


class JsonFormatter(logging.Formatter):
    """Time in UTC, level, service, message, and the record's ``fields``."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.converter = time.gmtime
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line of a log record."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
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


class Throttle:
    """Lets a burst of log lines through, then one per interval, and counts what it holds back.

    A tape full of poison must not fill the disk with its log.
    """

    def __init__(self, clock: Clock, *, burst: int, every_s: float) -> None:
        self._clock = clock
        self._burst = float(burst)
        self._per_ns = 1e-9 / every_s
        self._left = float(burst)
        self._looked_ns = clock.monotonic_ns()
        self._held_back = 0

    def admit(self) -> int | None:
        """How many lines were held back before this one, or None where this one is held back too."""
        now_ns = self._clock.monotonic_ns()
        self._left = min(self._burst, self._left + (now_ns - self._looked_ns) * self._per_ns)
        self._looked_ns = now_ns
        if self._left < 1.0:
            self._held_back += 1
            return None
        self._left -= 1.0
        held_back, self._held_back = self._held_back, 0
        return held_back
