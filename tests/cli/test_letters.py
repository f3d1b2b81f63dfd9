"""Dead letters: listed, shown, and replayed as a new stream."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import msgspec
import pytest

from tapelab.cli.commands.connect import connected, stack_settings
from tapelab.common import topics
from tapelab.common.codec import decode, encode
from tapelab.common.runtime.headers import dead_letter
from tapelab.common.runtime.kafka import create_topics
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.reader import read_topic
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.storage.redis import key
from tapelab.common.storage.streams import allocate_stream
from tests.contracts.records import ticks
from tests.fixtures_broker import Broker

SYMBOL = "WINZ26"


def batch(n: int, first_seq: int, stream: int, symbol: str = SYMBOL) -> TickBatch:
    return TickBatch.pack(
        ticks().slice(0, n), symbol=symbol, exchange="B3", stream=stream, lineage="l", first_seq=first_seq
    )


@pytest.fixture
def stack(storage: str, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> str:
    """Stores and a broker with topics; the database's address."""
    monkeypatch.setenv("TAPELAB_BROKER", broker.settings.broker)
    monkeypatch.setenv("TAPELAB_BROKER_KIND", "embedded")
    monkeypatch.setenv("TAPELAB_PARTITIONS", "2")
    asyncio.run(create_topics(stack_settings(), topics.ALL_TOPICS))
    return storage


async def _publish(*sent: tuple[str, bytes, list[tuple[str, bytes]]]) -> None:
    async with Publisher(stack_settings()) as publisher:
        for topic, value, headers in sent:
            await publisher.send(topic, SYMBOL, value, partition=1, headers=headers)
        await publisher.flush()


def publish(*sent: tuple[str, bytes]) -> None:
    asyncio.run(_publish(*((topic, value, []) for topic, value in sent)))


def bury(topic: str, offset: int, value: bytes, reason: str = "no instrument") -> None:
    record = Record(topic, 1, offset, SYMBOL.encode(), value, (), 0)
    asyncio.run(_publish((topic + topics.DLQ_SUFFIX, value, dead_letter(record, "bars", reason))))


async def _allocate() -> int:
    async with connected() as stores:
        return await allocate_stream(stores.pool, SYMBOL, "tape", "l")


def allocate() -> int:
    return asyncio.run(_allocate())


def on_ticks() -> list[TickBatch]:
    records = asyncio.run(read_topic(stack_settings(), topics.TICKS))
    return [decode(topics.TICKS, record.value) for record in records]


def a_stream_with_a_letter() -> int:
    """Three records, the middle one dead-lettered by bars; the stream's number."""
    stream = allocate()
    values = [encode(batch(2, seq, stream)) for seq in (0, 2, 4)]
    publish(*((topics.TICKS, value) for value in values))
    bury(topics.TICKS, 1, values[1])
    return stream


def test_a_big_queue_is_listed_by_topic_number_and_time(command: Any, stack: str) -> None:
    for n in range(5):
        bury(topics.TICKS, n, b"x")
    bury(topics.BARS, 0, b"y")
    listed = json.loads(command("dlq", "list", "--json").out)
    assert len(listed) == 6
    assert {letter["topic"] for letter in listed} == {topics.TICKS, topics.BARS}
    assert len(json.loads(command("dlq", "list", "--json", "--limit", "0").out)) == 6
    newest = json.loads(command("dlq", "list", "--json", "--topic", topics.TICKS, "--limit", "2").out)
    assert [letter["origin"] for letter in newest] == ["md.ticks.v1[1]@3", "md.ticks.v1[1]@4"]
    assert json.loads(command("dlq", "list", "--json", "--since", "2999-01-01").out) == []
    assert len(json.loads(command("dlq", "list", "--json", "--since", "1h").out)) == 6
    assert command("dlq", "list", "--topic", "md.tocks.v1").code == 2


def test_a_letter_shows_what_can_be_read_of_it(command: Any, stack: str) -> None:
    bury(topics.TICKS, 0, encode(batch(2, 0, 1)))
    bury(topics.TICKS, 1, msgspec.msgpack.encode(["WINZ26", "B3", "not a number"]), "cannot be decoded")
    whole = command("dlq", "show", "md.ticks.v1.dlq[1]@0").out
    assert "reason: no instrument" in whole
    assert "origin: md.ticks.v1[1]@0" in whole
    assert "decodes: yes" in whole
    assert "  symbol: 'WINZ26'" in whole
    part = command("dlq", "show", "md.ticks.v1.dlq[1]@1").out
    assert "decodes: no: " in part
    assert "  2: 'not a number'" in part
    for unknown in ("md.ticks.v1.dlq[1]@9", "md.ticks.v1.dlq[7]@0", "md.ticks.v1[1]@0", "nonsense"):
        done = command("dlq", "show", unknown)
        assert done.code == 1
        assert "no such dead letter" in done.err


def test_a_replay_is_the_whole_stream_under_a_new_number_with_the_letter_in_its_place(command: Any, stack: str) -> None:
    stream = a_stream_with_a_letter()
    tried = command("dlq", "replay", "md.ticks.v1.dlq[1]@0", "--dry-run")
    assert tried.out == f"would publish 6 prints of WINZ26 in 3 records of stream {stream} again, under a new stream\n"
    assert len(on_ticks()) == 3
    done = command("dlq", "replay", "md.ticks.v1.dlq[1]@0")
    assert done.out == f"published 6 prints of WINZ26 in 3 records of stream {stream} again, as stream {stream + 1}\n"
    again = [b for b in on_ticks() if b.stream == stream + 1]
    assert [(b.first_seq, b.n) for b in again] == [(0, 2), (2, 2), (4, 2)]
    assert [msgspec.structs.replace(b, stream=stream) for b in again] == [b for b in on_ticks() if b.stream == stream]


async def _playing(stream: int) -> None:
    async with connected() as stores:
        status = {"state": "playing_rest", "symbols": {SYMBOL: {"stream": stream, "next_seq": 6}}}
        await stores.redis.set(key(stores.settings.namespace, "replay:status"), msgspec.json.encode(status))


def test_a_stream_that_is_still_published_is_replayed_only_by_force(command: Any, stack: str) -> None:
    stream = a_stream_with_a_letter()
    asyncio.run(_playing(stream))
    refused = command("dlq", "replay", "md.ticks.v1.dlq[1]@0")
    assert refused.code == 1
    assert f"the source still publishes WINZ26 under stream {stream}" in refused.err
    assert "needs --force: " in command("dlq", "replay", "md.ticks.v1.dlq[1]@0", "--dry-run").out
    assert command("dlq", "replay", "md.ticks.v1.dlq[1]@0", "--force").code == 0


def test_an_old_stream_is_not_put_in_front_of_a_newer_one(command: Any, stack: str) -> None:
    a_stream_with_a_letter()
    newer = allocate()
    done = command("dlq", "replay", "md.ticks.v1.dlq[1]@0")
    assert done.code == 1
    assert f"a newer stream, {newer}" in done.err


@pytest.mark.parametrize(
    ("topic", "value", "said"),
    [
        (topics.TICKS, b"\xc1", "still cannot be read"),
        (topics.BARS, b"\xc1", "replay the prints it came from"),
        (topics.SIGNALS, b"{}", "a decision is never taken a second time"),
        (topics.TICKS, encode(batch(2, 0, 7)), "place in the log is gone"),
    ],
)
def test_what_cannot_be_replayed_says_what_to_do(command: Any, stack: str, topic: str, value: bytes, said: str) -> None:
    bury(topic, 0, value)
    done = command("dlq", "replay", f"{topic}.dlq[1]@0")
    assert done.code == 1
    assert said in done.err


def test_a_second_hole_in_the_stream_is_named(command: Any, stack: str) -> None:
    stream = allocate()
    publish(*((topics.TICKS, encode(batch(2, seq, stream))) for seq in (0, 2, 6)))
    bury(topics.TICKS, 1, encode(batch(2, 2, stream)))
    done = command("dlq", "replay", "md.ticks.v1.dlq[1]@0")
    assert done.code == 1
    assert "a record that begins with seq 4" in done.err


async def _streams(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return [row["source"] for row in await connection.fetch("SELECT source FROM streams ORDER BY stream")]
    finally:
        await connection.close()


def test_the_new_stream_says_in_the_database_what_it_is(command: Any, stack: str) -> None:
    stream = a_stream_with_a_letter()
    command("dlq", "replay", "md.ticks.v1.dlq[1]@0")
    assert asyncio.run(_streams(stack)) == ["tape", f"replay of stream {stream}"]
