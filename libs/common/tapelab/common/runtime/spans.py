"""Steps as OpenTelemetry spans; needs the extra ``otel``.

Ingest's span of a record has the ids that the record's ``traceparent`` names. A step of a stage takes many
records at once, so it is a trace of its own with links to those of the records its outputs came from.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from tapelab.common.runtime.headers import TRACE
from tapelab.common.runtime.stage import Record, Step

#: Links of one step; a catch-up's step has thousands of causes.
MAX_LINKS: Final = 64
#: How long a process that stops waits for its last spans.
CLOSE_S: Final = 2.0


class Ids(RandomIdGenerator):  # type: ignore[misc]
    """Random ids, save for a span that is told its own."""

    def __init__(self) -> None:
        self.given: tuple[int, int] | None = None

    def generate_trace_id(self) -> int:
        """The id of a new trace."""
        return super().generate_trace_id() if self.given is None else self.given[0]

    def generate_span_id(self) -> int:
        """The id of a new span."""
        return super().generate_span_id() if self.given is None else self.given[1]


class Spans:
    """Makes spans of what has happened and hands them to an exporter's thread, which drops what it cannot send."""

    def __init__(self, service: str, instance: str, exporter: SpanExporter) -> None:
        self._ids = Ids()
        self._provider = TracerProvider(
            resource=Resource.create(
                {"service.namespace": "tapelab", "service.name": service, "service.instance.id": instance}
            ),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("tapelab")

    def published(self, topic: str, trace: bytes, prints: int, started_ns: int, ended_ns: int) -> None:
        """Ingest published a record."""
        context = _context(trace)
        if context is None:
            return
        self._ids.given = (context.trace_id, context.span_id)
        try:
            span = self._tracer.start_span(
                f"publish {topic}",
                context=Context(),
                kind=SpanKind.PRODUCER,
                attributes={
                    "messaging.system": "kafka",
                    "messaging.destination.name": topic,
                    "tapelab.prints": prints,
                },
                start_time=started_ns,
            )
        finally:
            self._ids.given = None
        span.end(ended_ns)

    def step(self, stage: str, records: Sequence[Record], step: Step, started_ns: int, ended_ns: int) -> None:
        """A stage took records and wrote what follows from them."""
        first, last = records[0], records[-1]
        span = self._tracer.start_span(
            f"process {first.topic}",
            context=Context(),
            kind=SpanKind.CONSUMER,
            links=_links(records, step),
            attributes={
                "messaging.system": "kafka",
                "messaging.consumer.group.name": stage,
                "messaging.destination.name": first.topic,
                "messaging.destination.partition.id": str(first.partition),
                "messaging.batch.message_count": len(records),
                "messaging.kafka.offset": first.offset,
                "tapelab.last_offset": last.offset,
                "tapelab.outputs": len(step.outputs),
                "tapelab.dead": len(step.dead),
            },
            start_time=started_ns,
        )
        span.end(ended_ns)

    def close(self) -> None:
        """Send what is left, for a short time at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def otlp(service: str, instance: str) -> Spans:
    """Spans that go where OpenTelemetry's variables say, as protobuf over HTTP."""
    return Spans(service, instance, OTLPSpanExporter())


def _links(records: Sequence[Record], step: Step) -> list[Link]:
    links: dict[bytes, Link] = {}
    for cause in (*(o.cause for o in step.outputs), *(d.cause for d in step.dead)):
        trace = dict(records[cause].headers).get(TRACE, b"")
        if trace not in links and (context := _context(trace)) is not None:
            links[trace] = Link(context)
            if len(links) == MAX_LINKS:
                break
    return list(links.values())


def _context(trace: bytes) -> SpanContext | None:
    """What a ``traceparent`` names, None where it is not one."""
    parts = trace.decode("ascii", "replace").split("-")
    try:
        trace_id, span_id = int(parts[1], 16), int(parts[2], 16)
    except (IndexError, ValueError):
        return None
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
