"""What is published survives the broker's outages: in order, nothing lost; a new log is noticed."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tapelab.common import topics
from tapelab.common.clock import SystemClock
from tapelab.common.runtime import patience
from tapelab.common.runtime.kafka import create_topics
from tapelab.common.runtime.lost_log import NewLog
from tapelab.common.runtime.outage import Outage, StillAway
from tapelab.common.runtime.patience import wait_for_broker
from tapelab.common.runtime.publisher import OversizeRecord, Publisher
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.settings import CommonSettings
from tests.fixtures_broker import Broker

LOG = logging.getLogger("tapelab.test")


class Told:
    """A readiness."""

    def __init__(self) -> None:
        self.why: str | None = None
        self.stopping = asyncio.Event()

    def waiting(self, dependency: str, why: str) -> None:
        self.why = why

    def answered(self, dependency: str) -> None:
        self.why = None

    async def until(self, away: bool) -> None:
        async with asyncio.timeout(20):
            while (self.why is not None) != away:
                await asyncio.sleep(0.02)


@pytest.fixture
async def settings(broker: Broker) -> CommonSettings:
    await create_topics(broker.settings, topics.ALL_TOPICS)
    return broker.settings


def outage(told: Told) -> Outage:
    return Outage("broker", SystemClock(), LOG, told)


async def read(settings: CommonSettings, count: int) -> list[int]:
    """The numbers on partition 0 of the events topic."""
    async with TopicReader(settings, [topics.EVENTS], start="earliest") as reader:
        records = await reader.read_to_end()
    assert len(records) >= count
    return [int(record.value or b"") for record in records if record.partition == 0]


async def test_records_arrive_in_order_and_are_acknowledged(settings: CommonSettings) -> None:
    async with Publisher(settings) as publisher:
        for n in range(500):
            last = await publisher.send(topics.EVENTS, "k", b"%d" % n, partition=0)
        await publisher.flush()
        assert last.done()
    assert await read(settings, 500) == list(range(500))


async def test_a_reader_knows_how_far_it_is_behind_without_asking(settings: CommonSettings) -> None:
    async with Publisher(settings) as publisher:
        for n in range(200):
            await publisher.send(topics.EVENTS, "k", b"%d" % n, partition=0)
        await publisher.flush()
    async with TopicReader(settings, [topics.EVENTS], start="earliest") as reader, asyncio.timeout(20):
        while not (first := await reader.poll(max_records=50)):
            pass
        left = reader.behind
        assert left == 200 - len(first)
        while reader.behind:
            first += await reader.poll()
    assert len(first) == 200


async def test_a_full_window_blocks_the_source_until_the_broker_is_back(broker: Broker) -> None:
    """The broker comes up late: nothing of what was sent meanwhile is lost, and the window held the source back."""
    broker.kill()
    told = Told()
    starting = asyncio.create_task(_late(broker))
    async with Publisher(broker.settings, outage(told), in_flight=10) as publisher:
        for n in range(100):
            await publisher.send(topics.EVENTS, "k", b"%d" % n, partition=0)
        await publisher.flush()
    await starting
    assert told.why is None
    assert await read(broker.settings, 100) == list(range(100))


async def _late(broker: Broker) -> None:
    await asyncio.sleep(1.0)
    await asyncio.to_thread(broker.start)


async def test_a_broker_that_was_frozen_loses_nothing_and_readiness_says_so(
    broker: Broker, settings: CommonSettings
) -> None:
    told = Told()
    async with Publisher(settings, outage(told), in_flight=50, one_log=True) as publisher:
        for n in range(20):
            await publisher.send(topics.EVENTS, "k", b"%d" % n, partition=0)
        await publisher.flush()
        broker.freeze()
        await asyncio.sleep(0.2)  # the signal takes hold
        for n in range(20, 60):
            await publisher.send(topics.EVENTS, "k", b"%d" % n, partition=0)
        blocked = asyncio.create_task(_send_many(publisher, 60, 100))
        await told.until(away=True)
        await asyncio.sleep(0.2)
        assert not blocked.done()
        broker.thaw()
        await blocked
        await publisher.flush()
        assert told.why is None
    got = await read(settings, 100)
    assert list(dict.fromkeys(got)) == list(range(100))  # some may have been written twice, none out of order


async def _send_many(publisher: Publisher, first: int, end: int) -> None:
    for n in range(first, end):
        await publisher.send(topics.EVENTS, "k", b"%d" % n, partition=0)


async def test_a_log_that_was_lost_is_noticed_also_by_one_who_sends_nothing(
    broker: Broker, settings: CommonSettings
) -> None:
    told = Told()
    async with Publisher(settings, outage(told), one_log=True) as publisher:
        await publisher.send(topics.EVENTS, "k", b"0", partition=0)
        await publisher.flush()
        broker.kill()
        await told.until(away=True)
        await asyncio.to_thread(broker.start)
        async with asyncio.timeout(20):
            await publisher.new_log.wait()
        with pytest.raises(NewLog, match="the embedded broker keeps it in memory"):
            await publisher.flush()
        with pytest.raises(NewLog):
            await publisher.send(topics.EVENTS, "k", b"1", partition=0)
    assert await read(settings, 0) == []  # the topics are there again, and nothing of the old streams


async def test_whoever_needs_no_one_log_goes_on_in_the_new_one(broker: Broker, settings: CommonSettings) -> None:
    told = Told()
    async with Publisher(settings, outage(told)) as publisher:
        await publisher.send(topics.EVENTS, "k", b"0", partition=0)
        await publisher.flush()
        broker.kill()
        await told.until(away=True)
        await publisher.send(topics.EVENTS, "k", b"1", partition=0)
        await asyncio.to_thread(broker.start)
        await publisher.flush()
        assert publisher.new_log.is_set()
    assert await read(settings, 1) == [1]


async def test_an_oversize_record_is_refused_by_name_and_size_and_the_others_go_on(settings: CommonSettings) -> None:
    async with Publisher(settings) as publisher:
        await publisher.send(topics.EVENTS, "WINZ26", b"0", partition=0)
        with pytest.raises(OversizeRecord, match=r"a record of WINZ26 is too large for ml.events.v1.*4,194,304 bytes"):
            await publisher.send(topics.EVENTS, "WINZ26", b"1" * 4_194_304, partition=0)
        await publisher.send(topics.EVENTS, "WINZ26", b"2", partition=0)
        await publisher.flush()
    assert await read(settings, 2) == [0, 2]


async def test_a_command_is_told_after_a_while_that_there_is_no_broker(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.3)
    broker.kill()
    expected = r"the broker cannot be worked with: expected an answer within 0\.3 s.*no broker.*start it"
    with pytest.raises(StillAway, match=expected):
        async with Publisher(broker.settings):
            raise AssertionError
    with pytest.raises(StillAway, match=expected):
        async with TopicReader(broker.settings, [topics.EVENTS], start="earliest"):
            raise AssertionError
    with pytest.raises(StillAway, match=expected):
        await wait_for_broker(broker.settings, 0.3)


async def test_a_command_outlasts_a_broker_that_is_started_again(broker: Broker) -> None:
    broker.kill()
    asking = asyncio.create_task(patience.patiently(lambda: create_topics(broker.settings, topics.ALL_TOPICS)))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(broker.start)
    assert len(await asking) == len(topics.ALL_TOPICS)


async def test_a_reader_begins_again_in_a_new_log(broker: Broker, settings: CommonSettings) -> None:
    told = Told()
    async with (
        Publisher(settings, outage(Told())) as publisher,
        TopicReader(settings, [topics.EVENTS], start="earliest", outage=outage(told)) as reader,
    ):
        await _send_many(publisher, 0, 30)
        await publisher.flush()
        got = await _poll_until(reader, 30)
        assert got == list(range(30))
        broker.kill()
        while told.why is None:
            assert await reader.poll(0.05) == []
        await asyncio.to_thread(broker.start)
        await _send_many(publisher, 100, 140)
        await publisher.flush()
        assert await _poll_until(reader, 40) == list(range(100, 140))  # none skipped, although it was at 30 before
        assert reader.restarts == 1
        assert told.why is None


async def _poll_until(reader: TopicReader, count: int) -> list[int]:
    got: list[int] = []
    async with asyncio.timeout(30):
        while len(got) < count:
            got += [int(record.value or b"") for record in await reader.poll(0.1)]
    return got
