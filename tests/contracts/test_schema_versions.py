"""Records of other releases: fields added at the end are passed over, a changed one is named as what it is."""

from __future__ import annotations

import msgspec
import pytest

from tapelab.common import topics
from tapelab.common.codec import decode, encode
from tapelab.common.errors import PoisonRecord
from tests.contracts.records import event, signal, tick_batch, vector


@pytest.mark.parametrize(("topic", "record"), [(topics.TICKS, tick_batch()), (topics.FEATURES, vector())])
def test_fields_that_a_newer_release_added_are_passed_over(topic: str, record: msgspec.Struct) -> None:
    fields = msgspec.msgpack.decode(encode(record))
    assert decode(topic, msgspec.msgpack.encode([*fields, "new", 1])) == record


@pytest.mark.parametrize(("topic", "record"), [(topics.TICKS, tick_batch()), (topics.FEATURES, vector())])
def test_a_changed_field_of_a_newer_release_is_an_unknown_schema_version(topic: str, record: msgspec.Struct) -> None:
    fields = msgspec.msgpack.decode(encode(record))
    with pytest.raises(PoisonRecord, match=r"unknown schema version: \d+ fields where this release knows \d+"):
        decode(topic, msgspec.msgpack.encode([{"symbol": "WINZ26"}, *fields[1:], "new"]))


@pytest.mark.parametrize(("topic", "record"), [(topics.SIGNALS, signal()), (topics.EVENTS, event())])
def test_so_it_is_in_json(topic: str, record: msgspec.Struct) -> None:
    fields = msgspec.json.decode(encode(record))
    broken = {name: [] for name in fields} | {f"new_{n}": n for n in range(3)}
    with pytest.raises(PoisonRecord, match="unknown schema version"):
        decode(topic, msgspec.json.encode(broken))


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"not a record", None])
def test_garbage_is_no_schema_version(raw: bytes | None) -> None:
    for topic in (topics.TICKS, topics.SIGNALS):
        with pytest.raises(PoisonRecord) as caught:
            decode(topic, raw)
        assert "schema version" not in str(caught.value)
