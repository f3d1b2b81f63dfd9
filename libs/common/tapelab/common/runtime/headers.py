"""Kafka headers: wall-clock stamps of every hop, the trace, and where a dead letter comes from.

Stamps live in headers because payload bytes are a function of the input alone. The trace follows a record of
prints through every hop as W3C has it (``traceparent``). Its id is a digest of what the prints are, so nothing
random enters, a repeated record has the same one, and anybody can compute it from the prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from tapelab.common.runtime.stage import Record

#: When ingest published the prints; every later hop carries it on.
INGEST: Final = "ingest"
_PREFIX: Final = "h-"
_INGEST: Final = f"{_PREFIX}{INGEST}"
#: The trace that ingest began; every later hop carries it on as it is.
TRACE: Final = "traceparent"

REASON: Final = "dlq-reason"
STAGE: Final = "dlq-stage"
ORIGIN: Final = "dlq-origin"
#: A reason quotes what it is about, which may be megabytes.
_REASON_CHARS: Final = 2000

Headers = tuple[tuple[str, bytes], ...]


def stamp(hop: str, now_ns: int) -> tuple[str, bytes]:
    """The header of one hop: nanoseconds since the Unix epoch as ASCII decimals."""
    return f"{_PREFIX}{hop}", b"%d" % now_ns


def traceparent(symbol: str, stream: int, first_seq: int, last_seq: int) -> bytes:
    """The trace context of prints ``first_seq .. last_seq - 1``: version, trace id, span id, sampled."""
    digest = blake2b(f"{symbol}\x1f{stream}\x1f{first_seq}\x1f{last_seq}".encode(), digest_size=24).hexdigest()
    return f"00-{digest[:32]}-{digest[32:]}-01".encode()


def trace_id(headers: Iterable[tuple[str, bytes]]) -> str:
    """The trace a record belongs to, empty where it carries none."""
    for key, value in headers:
        if key == TRACE:
            return value[3:35].decode("ascii", "replace")
    return ""


def read_stamp(headers: Iterable[tuple[str, bytes]], hop: str) -> int | None:
    """When a hop published the record, None where it did not say or the header is unreadable."""
    name = f"{_PREFIX}{hop}"
    for key, value in headers:
        if key == name:
            return int(value) if value.isdigit() else None
    return None


def stamps(headers: Iterable[tuple[str, bytes]]) -> tuple[int | None, int | None]:
    """When ingest published the prints, and when the last hop so far published the record."""
    ingest = newest = b""
    for key, value in headers:
        if key[:2] == _PREFIX:
            newest = value  # every hop adds its stamp at the end
            if key == _INGEST:
                ingest = value
    return int(ingest) if ingest.isdigit() else None, int(newest) if newest.isdigit() else None


def carried(headers: Iterable[tuple[str, bytes]], hop: str, now_ns: int) -> list[tuple[str, bytes]]:
    """Trace and stamps of the hops so far, and this one's stamp."""
    return [*((k, v) for k, v in headers if k == TRACE or k.startswith(_PREFIX)), stamp(hop, now_ns)]


def dead_letter(record: Record, stage: str, reason: str) -> Headers:
    """Headers of a dead letter: why, who says so, where it came from, and what it carried.

    A letter that somebody put back on its topic brings headers of an earlier letter; these are left out.
    """
    origin = f"{record.topic}[{record.partition}]@{record.offset}"
    text = reason if len(reason) <= _REASON_CHARS else f"{reason[:_REASON_CHARS]}... ({len(reason)} characters)"
    return (
        (REASON, text.encode()),
        (STAGE, stage.encode()),
        (ORIGIN, origin.encode()),
        *(header for header in record.headers if header[0] not in (REASON, STAGE, ORIGIN)),
    )


def origin_offset(headers: Iterable[tuple[str, bytes]], stage: str) -> int | None:
    """Offset in the input topic that a dead letter of the stage came from."""
    found = dict(headers)
    if found.get(STAGE) != stage.encode():
        return None
    offset = found.get(ORIGIN, b"").rpartition(b"@")[2]
    return int(offset) if offset.isdigit() else None
