"""Topic names and partitions."""

from __future__ import annotations

from aiokafka.partitioner import murmur2

from tapelab.common.topics import ALL_TOPICS, DLQ_SUFFIX, partition_of, qualified, unqualified


def test_partitions_agree_with_kafkas_default_partitioner() -> None:
    for symbol in ("WINZ26", "WDOZ26", "PETR4", "BTCUSDT", "A", "AB", "ABC"):
        assert partition_of(symbol, 12) == (murmur2(symbol.encode()) & 0x7FFFFFFF) % 12


def test_a_namespace_is_put_before_and_taken_off() -> None:
    assert qualified("lab", "md.ticks.v1") == "lab.md.ticks.v1"
    assert unqualified("lab", "lab.md.ticks.v1") == "md.ticks.v1"
    assert qualified("", "md.ticks.v1") == "md.ticks.v1"


def test_every_data_topic_has_a_dead_letter_topic() -> None:
    names = {spec.name for spec in ALL_TOPICS}
    data = {n for n in names if not n.endswith(DLQ_SUFFIX) and ".state." not in n}
    assert {n + DLQ_SUFFIX for n in data} <= names
