"""The bytes of every topic's record are fixed: an accidental change of a schema fails here.

To change a schema on purpose, add fields with defaults at the end and write the new bytes beside the old
ones (``python -m tests.contracts.test_golden_bytes NAME``); the old files stay and must go on decoding.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tapelab.common import topics
from tapelab.common.codec import decode, encode, identity, seq_range
from tapelab.common.errors import PoisonRecord
from tapelab.common.schemas.bars import Bar, bars_to_array
from tapelab.common.schemas.signals import INT64_FIELDS
from tapelab.quant.dtypes import BAR_DTYPE
from tests.contracts.records import BIG, RECORDS, bar, signal, tick_batch, ticks

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("topic", RECORDS)
def test_a_record_encodes_to_its_golden_bytes(topic: str) -> None:
    assert encode(RECORDS[topic]).hex() == (GOLDEN / f"{topic}.hex").read_text().strip()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.hex")), ids=lambda p: p.stem)
def test_every_golden_record_decodes_and_old_ones_too(path: Path) -> None:
    topic = next(t for t in RECORDS if path.name.startswith(t))
    decoded = decode(topic, bytes.fromhex(path.read_text().strip()))
    assert type(decoded) is type(RECORDS[topic])
    if path.name == f"{topic}.hex":
        # NaN differs from itself, so bytes are compared.
        assert encode(decoded) == encode(RECORDS[topic])


@pytest.mark.parametrize("topic", [t for t in RECORDS if t not in (topics.SIGNALS, topics.EVENTS)])
def test_a_record_of_before_a_field_was_added_still_decodes(topic: str) -> None:
    fields = msgspec.msgpack.decode(encode(RECORDS[topic]))
    defaults = sum(f.default is not msgspec.NODEFAULT for f in msgspec.structs.fields(type(RECORDS[topic])))
    older = fields[: len(fields) - defaults]
    assert type(decode(topic, msgspec.msgpack.encode(older))) is type(RECORDS[topic])


@pytest.mark.parametrize("topic", [t for t in RECORDS if t not in (topics.SIGNALS, topics.EVENTS)])
def test_a_record_of_a_newer_release_still_decodes(topic: str) -> None:
    newer = [*msgspec.msgpack.decode(encode(RECORDS[topic])), "a field of the future"]
    assert decode(topic, msgspec.msgpack.encode(newer)) is not None


def test_what_an_older_bar_did_not_carry_is_unknown() -> None:
    older = decode(topics.BARS, bytes.fromhex((GOLDEN / f"{topics.BARS}.before_participants.hex").read_text()))
    added = ["rlp_volume", "large_volume", "large_signed_volume", "buy_agent_top3_share", "sell_agent_top3_share"]
    added += ["agent_net_buy_top3", "agent_net_sell_top3", "utc_offset_s"]
    assert older.rv_5m == bar().rv_5m
    (row,) = bars_to_array([older])
    assert [name for name in BAR_DTYPE.names or () if name != "buy_agent_hhi" and np.isnan(row[name])] == added


def test_64_bit_integers_of_a_signal_are_strings_in_json() -> None:
    fields = json.loads(encode(signal()))
    assert fields["ts_event_ns"] == str(BIG)
    assert all(isinstance(fields[name], str) for name in INT64_FIELDS)
    assert decode(topics.SIGNALS, encode(signal())) == signal()


def test_tick_columns_come_back_without_copying() -> None:
    batch = decode(topics.TICKS, encode(tick_batch()))
    for got, sent in zip(batch.ticks(), ticks(), strict=True):
        np.testing.assert_array_equal(got, sent)
        assert not got.flags.owndata


def test_a_bar_has_the_fields_of_the_kernels_dtype_in_order() -> None:
    names = Bar.__struct_fields__
    assert names[len(names) - len(BAR_DTYPE.names or ()) :] == BAR_DTYPE.names
    assert bars_to_array([bar(), bar()]).dtype == BAR_DTYPE


def test_a_tick_batch_with_a_short_column_is_poison() -> None:
    broken = msgspec.structs.replace(tick_batch(), price=b"\x00" * 8)
    with pytest.raises(PoisonRecord, match=r"column price .* expected 16 bytes for n=2, got 8 bytes"):
        broken.ticks()


@pytest.mark.parametrize("topic", RECORDS)
@pytest.mark.parametrize("raw", [b"", b"\xff\x00garbage", b"[]", None], ids=["empty", "garbage", "list", "null"])
def test_garbage_is_poison_with_expected_actual_and_remedy(topic: str, raw: bytes | None) -> None:
    with pytest.raises(PoisonRecord) as caught:
        decode(topic, raw)
    assert topic in str(caught.value)
    assert caught.value.expected
    assert caught.value.remedy


def test_identity_is_symbol_stream_and_lineage_and_ranges_are_half_open() -> None:
    assert identity(tick_batch()) == ("WINZ26", 7, "a1b2c3d4e5f60718")
    assert seq_range(tick_batch()) == (41, 43)
    assert seq_range(bar())[1] - seq_range(bar())[0] == 1


def test_a_tick_batch_names_the_last_book_record_before_it() -> None:
    assert decode(topics.TICKS, encode(tick_batch())).book_seq == 9


if __name__ == "__main__":
    for name in sys.argv[1:] or RECORDS:
        (GOLDEN / f"{name}.hex").write_text(encode(RECORDS[name]).hex() + "\n")
