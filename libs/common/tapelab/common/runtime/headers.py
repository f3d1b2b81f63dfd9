"""Kafka headers: wall-clock stamps of every hop, and where a dead letter comes from.

Stamps live in headers because payload bytes are a function of the input alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tapelab.common.runtime.stage import Record

#: When ingest published the prints; every later hop carries it on.
INGEST: Final = "ingest"
_PREFIX: Final = "h-"

REASON: Final = "dlq-reason"
STAGE: Final = "dlq-stage"
ORIGIN: Final = "dlq-origin"

Headers = tuple[tuple[str, bytes], ...]


def stamp(hop: str, now_ns: int) -> tuple[str, bytes]:
    """The header of one hop: nanoseconds since the Unix epoch as ASCII decimals."""
    return f"{_PREFIX}{hop}", b"%d" % now_ns


def read_stamp(headers: Iterable[tuple[str, bytes]], hop: str) -> int | None:
    """When a hop published the record, None where it did not say or the header is unreadable."""
    name = f"{_PREFIX}{hop}"
    for key, value in headers:
        if key == name:
            return int(value) if value.isdigit() else None
    return None


def carried(headers: Iterable[tuple[str, bytes]], hop: str, now_ns: int) -> list[tuple[str, bytes]]:
    """Stamps of the hops so far, and this one's."""
    return [*((k, v) for k, v in headers if k.startswith(_PREFIX)), stamp(hop, now_ns)]


def dead_letter(record: Record, stage: str, reason: str) -> list[tuple[str, bytes]]:
    """Headers of a dead letter: why, who says so, where it came from, and what it carried."""
    origin = f"{record.topic}[{record.partition}]@{record.offset}"
    return [
        (REASON, reason.encode()),
        (STAGE, stage.encode()),
        (ORIGIN, origin.encode()),
        *record.headers,
    ]


def origin_offset(headers: Iterable[tuple[str, bytes]], stage: str) -> int | None:
    """Offset in the input topic that a dead letter of the stage came from."""
    found = dict(headers)
    if found.get(STAGE) != stage.encode():
        return None
    offset = found.get(ORIGIN, b"").rpartition(b"@")[2]
    return int(offset) if offset.isdigit() else None
