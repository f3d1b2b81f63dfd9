"""OpenTelemetry traces, where somebody listens: off unless OpenTelemetry's own variable names an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from tapelab.common.errors import ConfigError
from tapelab.common.runtime.stage import Record, Step

#: Any of them switches tracing on; the exporter reads them, and everything else that begins with OTEL_.
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracing(Protocol):
    """What is told of the work. Times are wall-clock nanoseconds."""

    def published(self, topic: str, trace: bytes, prints: int, started_ns: int, ended_ns: int) -> None:
        """Ingest published a record; its trace begins here."""
        ...

    def step(self, stage: str, records: Sequence[Record], step: Step, started_ns: int, ended_ns: int) -> None:
        """A stage took records and wrote what follows from them."""
        ...

    def close(self) -> None:
        """Send what is left, for a short time at most."""
        ...


def open_tracing(service: str, instance: str, environ: Mapping[str, str]) -> Tracing | None:
    """Tracing as the environment asks for it, None where it does not.

    Raises:
        ConfigError: it asks, and OpenTelemetry is not installed.
    """
    asking = [name for name in ENDPOINTS if environ.get(name)]
    if not asking:
        return None
    try:
        from tapelab.common.runtime.spans import otlp
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{asking[0]} asks for traces",
            expected="OpenTelemetry's SDK and OTLP exporter to be installed",
            actual=str(error),
            remedy=f"pip install -c constraints.txt 'tapelab[otel]', or unset {asking[0]}",
        ) from error
    return otlp(service, instance)
