"""What cannot be used is told in a letter that its topic takes, whatever it is and wherever it came from."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest

from tapelab.common import topics
from tapelab.common.codec import decode, encode
from tapelab.common.errors import PoisonRecord
from tapelab.common.runtime.headers import REASON, dead_letter, origin_offset
from tapelab.common.runtime.kafka import to_records
from tapelab.common.runtime.keyed import decode_keyed
from tapelab.common.runtime.limits import limit_of, message_bytes
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.runtime.stage import Dead, Record, Step
from tapelab.common.runtime.writer import StepWriter
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import partition_of
from tapelab.quant.ticks import Ticks


def batch(symbol: str) -> bytes:
    return encode(TickBatch.pack(Ticks.empty(), symbol=symbol, exchange="B3", stream=1, lineage="x", first_seq=0))


def letter_of(record: Record, reason: str) -> tuple[bytes | None, bytes, dict[str, bytes], int]:
    ctx = ServiceContext("w", CommonSettings(), {})
    writer = StepWriter("bars", ctx.settings, ctx.clock, StageMetrics("bars", ctx.registry), 0)
    (message,) = writer.prepare([record], Step([], [Dead(0, reason)], {}, {})).messages
    return message.key, message.value, dict(message.headers), message_bytes(message.key, message.value, message.headers)


@pytest.mark.parametrize(
    "raw", [b"\x91" * 5000 + b"\x01", b"[" * 100_000, b'{"a":' * 100_000, b"\x81\xa1a" * 100_000, b"\x91" * 1_000_000]
)
@pytest.mark.parametrize("topic", [topics.TICKS, topics.BARS, topics.FEATURES, topics.SIGNALS, topics.EVENTS])
def test_nesting_without_end_is_poison_like_any_other(topic: str, raw: bytes) -> None:
    with pytest.raises(PoisonRecord):
        decode(topic, raw)


@pytest.mark.parametrize("key", [None, b"", b"OTHER", "WINZ26é".encode()])
def test_a_record_under_another_key_is_poison(key: bytes | None) -> None:
    with pytest.raises(PoisonRecord, match="another key"):
        decode_keyed(Record(topics.TICKS, 0, 0, key, batch("WINZ26")))
    assert decode_keyed(Record(topics.TICKS, 0, 0, b"WINZ26", batch("WINZ26"))).symbol == "WINZ26"


def test_a_record_in_another_partition_than_its_keys_is_poison() -> None:
    """What a producer with another partitioner writes: its lane would take it for the beginning of a stream."""
    home = partition_of("WINZ26", 4)

    class Message(NamedTuple):
        partition: int
        topic: str = topics.TICKS
        offset: int = 7
        key: bytes | None = b"WINZ26"
        value: bytes = batch("WINZ26")
        headers: tuple[tuple[str, bytes], ...] = ()
        timestamp: int = 0

    settings = CommonSettings(partitions=4)
    found = to_records(settings, [Message(partition) for partition in range(4)])
    assert [record.misplaced for record in found] == [partition != home for partition in range(4)]
    assert decode_keyed(found[home]).symbol == "WINZ26"
    with pytest.raises(PoisonRecord, match="another symbol's partition"):
        decode_keyed(found[home - 1])


@pytest.mark.parametrize("change", [{"stream": 2**63}, {"stream": -1}, {"first_seq": 2**63}, {"first_seq": -1}])
def test_numbers_that_fit_nowhere_are_poison(change: dict[str, int]) -> None:
    good = decode(topics.TICKS, batch("WINZ26"))
    with pytest.raises(PoisonRecord, match="out of range"):
        decode_keyed(Record(topics.TICKS, 0, 0, b"WINZ26", encode(msgspec.structs.replace(good, **change))))


@pytest.mark.parametrize("symbol", ["", "A" * 65, "A" * 3_000_000, "NUL\0", "TAB\t"])
def test_a_symbol_without_end_is_poison(symbol: str) -> None:
    with pytest.raises(PoisonRecord, match="symbol"):
        decode_keyed(Record(topics.TICKS, 0, 0, symbol.encode(), batch(symbol)))


@pytest.mark.parametrize(
    "record",
    [
        Record(topics.TICKS, 0, 7, b"WINZ26", b"x" * 4_194_304),
        Record(topics.TICKS, 0, 7, b"K" * 4_000_000, b"x"),
        Record(topics.TICKS, 0, 7, b"K" * 2_000_000, b"x" * 2_000_000, (("h", b"v" * 1_000_000),)),
        Record(topics.TICKS, 0, 7, None, None, (("h", b"v" * 4_000_000),)),
    ],
)
def test_a_letter_fits_its_topic_however_long_its_parts_are(record: Record) -> None:
    _, _, headers, size = letter_of(record, "because of " + "A" * 3_000_000)
    assert size <= limit_of(topics.TICKS + topics.DLQ_SUFFIX)
    assert origin_offset(tuple(headers.items()), "bars") == 7
    assert headers[REASON].startswith(b"because of AAA")


def test_what_fits_is_kept_whole() -> None:
    key, value, headers, _ = letter_of(Record(topics.TICKS, 0, 7, b"WINZ26", b"junk", (("h-ingest", b"1"),)), "why")
    assert (key, value, headers["h-ingest"], headers[REASON]) == (b"WINZ26", b"junk", b"1", b"why")


def test_a_letter_that_was_put_back_on_its_topic_gets_an_origin_of_its_own() -> None:
    first = Record(topics.TICKS, 0, 5, b"WINZ26", b"junk")
    again = Record(topics.TICKS, 0, 77, b"WINZ26", b"junk", dead_letter(first, "bars", "then"))
    headers = dead_letter(again, "bars", "now")
    assert origin_offset(headers, "bars") == 77
    assert dict(headers)[REASON] == b"now"
