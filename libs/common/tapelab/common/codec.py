"""Bytes on the wire: msgpack for market data, JSON for what people and other languages read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from tapelab.common import topics
from tapelab.common.errors import PoisonRecord
from tapelab.common.schemas.bars import Bar
from tapelab.common.schemas.book import BookBatch
from tapelab.common.schemas.events import Event
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.schemas.signals import Signal, decode_signal, encode_signal
from tapelab.common.schemas.ticks import TickBatch

MarketRecord = TickBatch | BookBatch | Bar | FeatureVector | Signal
AnyRecord = MarketRecord | Event

_msgpack: Final = msgspec.msgpack.Encoder()
_json: Final = msgspec.json.Encoder()

_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    TickBatch: _msgpack.encode,
    BookBatch: _msgpack.encode,
    Bar: _msgpack.encode,
    FeatureVector: _msgpack.encode,
    Signal: encode_signal,
    Event: _json.encode,
}

_DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    topics.TICKS: msgspec.msgpack.Decoder(TickBatch).decode,
    topics.BOOK: msgspec.msgpack.Decoder(BookBatch).decode,
    topics.BARS: msgspec.msgpack.Decoder(Bar).decode,
    topics.FEATURES: msgspec.msgpack.Decoder(FeatureVector).decode,
    topics.SIGNALS: decode_signal,
    topics.EVENTS: msgspec.json.Decoder(Event).decode,
}


#: What decoders raise about bytes that are no record; nesting that is too deep for them is a RecursionError.
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_STRUCTS: Final[dict[str, type[msgspec.Struct]]] = {
    topics.TICKS: TickBatch,
    topics.BOOK: BookBatch,
    topics.BARS: Bar,
    topics.FEATURES: FeatureVector,
    topics.SIGNALS: Signal,
    topics.EVENTS: Event,
}


class Identity(NamedTuple):
    """Whose record it is: the sequence is contiguous within one identity."""

    symbol: str
    stream: int
    lineage: str


def encode(record: AnyRecord) -> bytes:
    """A record's bytes: a function of the record alone."""
    return _ENCODERS[type(record)](record)


def decode(topic: str, raw: bytes | None) -> Any:
    """The record of a topic's bytes.

    Raises:
        PoisonRecord: the bytes are not a record of the topic.
    """
    decoder = _DECODERS[topic]
    if raw is None:
        raise PoisonRecord(
            f"record on {topic} has no value",
            expected="the bytes of a record",
            actual="nothing",
            remedy="fix the producer; the record went to the dead-letter topic",
        )
    try:
        return decoder(raw)
    except _UNREADABLE as error:
        raise PoisonRecord(
            f"record on {topic} cannot be decoded",
            expected=f"a record of schema {topic}",
            actual=f"{len(raw)} bytes that fail with: {error}{_other_schema(topic, raw)}",
            remedy="fix the producer; the record went to the dead-letter topic",
        ) from error


def _other_schema(topic: str, raw: bytes) -> str:
    """Says where bytes that fail look like a record of another release: well-formed, with fields of its own.

    Records carry no version. Fields that a newer release adds are behind the known ones (or have new names) and are
    passed over; what fails is a field whose meaning has changed, and a newer record usually has more of them.
    """
    try:
        if topic in (topics.SIGNALS, topics.EVENTS):
            fields = msgspec.json.decode(raw)
        else:
            fields = msgspec.msgpack.decode(raw)
    except _UNREADABLE:
        return ""
    known = len(_STRUCTS[topic].__struct_fields__)
    if isinstance(fields, list | dict) and len(fields) > known:
        return (
            f"; unknown schema version: {len(fields)} fields where this release knows {known}, so a newer release "
            "wrote it: update this one"
        )
    return ""


def identity(record: MarketRecord) -> Identity:
    """Whose sequence the record belongs to."""
    return Identity(record.symbol, record.stream, record.lineage)


def seq_range(record: MarketRecord) -> tuple[int, int]:
    """The record's sequence numbers as a half-open range."""
    if isinstance(record, TickBatch | BookBatch):
        return record.first_seq, record.first_seq + record.n
    return record.seq, record.seq + 1
