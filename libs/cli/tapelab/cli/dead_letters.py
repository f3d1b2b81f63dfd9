"""Dead letters as they lie on their topics: found, described, decoded as far as they can be."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from tapelab.common import topics
from tapelab.common.codec import decode
from tapelab.common.errors import PoisonRecord, TapelabError
from tapelab.common.runtime.headers import ORIGIN, REASON, STAGE
from tapelab.common.runtime.reader import TopicReader, read_at
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import CommonSettings

#: Topics that have a dead-letter topic.
DEAD_LETTERED: Final = tuple(
    spec.name.removesuffix(topics.DLQ_SUFFIX) for spec in topics.ALL_TOPICS if spec.name.endswith(topics.DLQ_SUFFIX)
)
_PLACE: Final = re.compile(r"(?P<topic>[\w.-]+)\[(?P<partition>\d+)\]@(?P<offset>\d+)")
_JSON: Final = (topics.SIGNALS, topics.EVENTS)
_SHOWN: Final = 120


class Place(msgspec.Struct, frozen=True):
    """Where a record lies: ``topic[partition]@offset``."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter. ``id`` is where it lies: ``topic[partition]@offset``; ``ts_ms`` when it was put there."""

    id: str
    topic: str
    origin: str
    stage: str
    reason: str
    key: str
    size: int
    ts_ms: int
    value: bytes | None


def place_of(text: str) -> Place:
    """Read ``topic[partition]@offset``.

    Raises:
        TapelabError: it is something else.
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        raise _unknown(text)
    return Place(found["topic"], int(found["partition"]), int(found["offset"]))


async def letters(
    settings: CommonSettings, names: Sequence[str] = DEAD_LETTERED, *, newest: int | None = None, since_ms: int = 0
) -> AsyncIterator[Letter]:
    """Dead letters of some topics as they are read, without their bytes.

    Args:
        newest: at most so many of each partition.
        since_ms: only those put there at or after this time, Unix ms.
    """
    async with TopicReader(settings, [name + topics.DLQ_SUFFIX for name in names], start="earliest") as reader:
        if newest is not None:
            await reader.seek_back(newest)
        async for records in reader.chunks():
            for record in records:
                if record.timestamp_ms >= since_ms:
                    yield msgspec.structs.replace(letter_of(record), value=None)


async def find(settings: CommonSettings, identifier: str) -> Letter:
    """One dead letter with its bytes.

    Raises:
        TapelabError: there is none of that id.
    """
    place = place_of(identifier)
    if place.topic.removesuffix(topics.DLQ_SUFFIX) not in DEAD_LETTERED or place.topic in DEAD_LETTERED:
        raise _unknown(identifier)
    record = await read_at(settings, place.topic, place.partition, place.offset)
    if record is None:
        raise _unknown(identifier)
    return letter_of(record)


def letter_of(record: Record) -> Letter:
    """A record of a dead-letter topic, read."""
    headers = {k: v.decode(errors="replace") for k, v in record.headers}
    return Letter(
        id=f"{record.topic}[{record.partition}]@{record.offset}",
        topic=record.topic.removesuffix(topics.DLQ_SUFFIX),
        origin=headers.get(ORIGIN, ""),
        stage=headers.get(STAGE, ""),
        reason=headers.get(REASON, ""),
        key=(record.key or b"").decode(errors="replace"),
        size=len(record.value or b""),
        ts_ms=record.timestamp_ms,
        value=record.value or b"",
    )


def described(letter: Letter) -> list[str]:
    """What the bytes say: the record's fields, or as much as can be told and why not more; a line each."""
    value = letter.value or b""
    try:
        record = decode(letter.topic, value)
    except PoisonRecord as error:
        return [f"decodes: no: {error.actual}", *_loosely(letter.topic, value)]
    return ["decodes: yes", *(f"  {name}: {_short(getattr(record, name))}" for name in record.__struct_fields__)]


def _loosely(topic: str, value: bytes) -> list[str]:
    """The values in the bytes, whatever they should be."""
    decoder = msgspec.json.decode if topic in _JSON else msgspec.msgpack.decode
    try:
        parts = decoder(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    if isinstance(parts, dict):
        return [f"  {name}: {_short(part)}" for name, part in parts.items()]
    if isinstance(parts, list):
        return [f"  {number}: {_short(part)}" for number, part in enumerate(parts)]
    return [f"  {_short(parts)}"]


def _short(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


def _unknown(identifier: str) -> TapelabError:
    return TapelabError(
        "no such dead letter",
        expected="an id that 'tapelab dlq list' shows, such as md.ticks.v1.dlq[0]@12",
        actual=identifier,
        remedy="copy it from the list; letters older than the topic's retention are gone",
    )
