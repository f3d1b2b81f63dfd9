"""``WS /ws/ml`` on a real port."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tapelab.api import ws
from tapelab.api.channels import Client, Outbox
from tapelab.common import topics
from tests.contracts import records as golden
from tests.services.api.conftest import TOKEN
from tests.services.api.tape import bar, record, signal_records, ticks

pytestmark = pytest.mark.slow


class Socket:
    """A client that speaks JSON and sets heartbeats aside."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.heartbeats: list[dict[str, Any]] = []

    async def say(self, **message: str) -> None:
        await self.connection.send(json.dumps(message))

    async def hear(self, timeout_s: float = 5.0) -> dict[str, Any]:
        async with asyncio.timeout(timeout_s):
            while True:
                message: dict[str, Any] = json.loads(await self.connection.recv())
                if message["type"] != "hb":
                    return message
                self.heartbeats.append(message)


@contextlib.asynccontextmanager
async def dialled(url: str, **options: Any):
    async with connect(url.replace("http://", "ws://") + "/ws/ml", **options) as connection:
        yield Socket(connection)


async def test_signals_arrive_as_snapshot_then_deltas_and_resume_after_a_lost_connection(live_rig):
    live_rig.take(signal_records(0, 3))
    async with live_rig.served() as url:
        async with dialled(url) as socket:
            await socket.say(type="hello")
            welcome = await socket.hear()
            assert (welcome["type"], welcome["epoch"]) == ("welcome", "epoch-1")
            await socket.say(type="sub", ch="signals")
            snapshot = await socket.hear()
            assert (snapshot["type"], snapshot["seq"], len(snapshot["data"]["items"])) == ("snapshot", "3", 3)
            await live_rig.reader.queue.put(signal_records(3, 1))
            delta = await socket.hear()
            assert (delta["type"], delta["seq"], delta["prev"]) == ("delta", "4", "3")
            assert delta["data"] == json.loads(signal_records(3, 1)[0].value)
        await live_rig.reader.queue.put(signal_records(4, 2))
        while len(live_rig.deps.live.signals) < 6:
            await asyncio.sleep(0.01)
        async with dialled(url) as socket:
            await socket.say(type="sub", ch="signals", epoch="epoch-1", after="4")
            assert [(await socket.hear())["seq"] for _ in range(2)] == ["5", "6"]


async def test_bars_follow_a_symbol_and_a_new_stream_is_a_snapshot(live_rig):
    async with live_rig.served() as url, dialled(url) as socket:
        await socket.say(type="sub", ch="bars:WINZ26")
        assert (await socket.hear())["data"] == {"items": []}
        await live_rig.reader.queue.put([record(topics.BARS, bar(0)), record(topics.BARS, bar(1), offset=1)])
        first = await socket.hear()
        assert (first["type"], [item["seq"] for item in first["data"]["items"]]) == ("snapshot", ["0", "1"])
        await live_rig.reader.queue.put([record(topics.BARS, bar(2), offset=2)])
        delta = await socket.hear()
        assert (delta["type"], delta["data"]["seq"], delta["prev"]) == ("delta", "2", first["seq"])
        await live_rig.reader.queue.put([record(topics.BARS, bar(0, stream=2), offset=3)])
        again = await socket.hear()
        assert (again["type"], [item["stream"] for item in again["data"]["items"]]) == ("snapshot", ["2"])


async def test_the_whole_status_comes_every_second_and_heartbeats_every_two(live_rig):
    live_rig.take([record(topics.TICKS, ticks(0, 5))])
    async with live_rig.served() as url, dialled(url) as socket:
        await socket.say(type="sub", ch="data")
        snapshot = await socket.hear()
        assert snapshot["data"]["totals"]["ticks"] == 5
        deltas = [await socket.hear() for _ in range(3)]
        assert [int(delta["seq"]) - int(delta["prev"]) for delta in deltas] == [1, 1, 1]
        assert deltas[0]["data"].keys() == snapshot["data"].keys()
        assert socket.heartbeats
        assert socket.heartbeats[0].keys() == {"type", "server_ns", "seqs"}
        assert set(socket.heartbeats[0]["seqs"]) == {"data"}


async def test_experiments_are_followed_as_they_change(live_rig):
    jobs = live_rig.deps.jobs
    made = await jobs.create({"name": "x"}, "x")
    await live_rig.deps.experiments.refresh()
    async with live_rig.served() as url, dialled(url) as socket:
        await socket.say(type="sub", ch="experiments")
        assert [item["id"] for item in (await socket.hear())["data"]["items"]] == [made.id]
        await jobs.set_status(made.id, "running")
        await live_rig.reader.queue.put([record(topics.EVENTS, golden.event())])
        delta = await socket.hear()
        assert (delta["type"], delta["data"]["id"], delta["data"]["status"]) == ("delta", made.id, "running")


async def test_wrong_messages_are_answered_and_the_connection_stays(live_rig):
    async with live_rig.served() as url, dialled(url) as socket:
        for sent, code in [
            ("not json", "bad_message"),
            ('{"type": "dance"}', "bad_message"),
            ('{"type": "sub", "ch": "signals", "after": "x"}', "bad_message"),
            ('{"type": "sub", "ch": "nothing"}', "unknown_channel"),
            ('{"type": "sub", "ch": "bars:no such symbol"}', "unknown_channel"),
            ("x" * 5000, "bad_message"),
            (b"bytes", "bad_message"),
        ]:
            await socket.connection.send(sent)
            answer = await socket.hear()
            assert (answer["type"], answer["code"]) == ("error", code)
            assert {"expected", "actual", "remedy"} <= answer.keys()
        await socket.say(type="sub", ch="signals")
        assert (await socket.hear())["type"] == "snapshot"
        await socket.say(type="unsub", ch="signals")
        await socket.say(type="hello")
        await socket.hear()
        await live_rig.reader.queue.put(signal_records(0, 1))
        with pytest.raises(TimeoutError):
            await socket.hear(0.3)


async def test_a_client_that_cannot_keep_up_gets_a_gap_and_can_come_back(live_rig):
    async with live_rig.served() as url, dialled(url) as socket:
        await socket.say(type="sub", ch="signals")
        await socket.hear()
        live_rig.take(signal_records(0, 2000))  # at once: more than the outbox holds
        assert await socket.hear() == {"type": "gap", "ch": "signals"}
        await socket.say(type="sub", ch="signals", epoch="epoch-1", after="0")
        snapshot = await socket.hear()
        assert (snapshot["type"], snapshot["seq"], len(snapshot["data"]["items"])) == ("snapshot", "2000", 200)
        live_rig.take(signal_records(2000, 1))
        assert (await socket.hear())["prev"] == "2000"


async def test_a_page_of_another_site_cannot_open_a_socket(live_rig):
    async with live_rig.served() as url:
        with pytest.raises(InvalidStatus, match="403"):
            async with dialled(url, origin="https://evil.example"):
                pytest.fail("connected")
        async with dialled(url, origin=url) as socket:
            await socket.say(type="hello")
            assert (await socket.hear())["type"] == "welcome"


async def test_with_a_token_a_socket_needs_the_login(locked):
    locked.gateway.run = asyncio.Event().wait  # its clock stands still; nothing of it is needed here
    async with locked.served() as url:
        with pytest.raises(InvalidStatus, match="403"):
            async with dialled(url):
                pytest.fail("connected")
        cookie = f"tapelab_session={locked.deps.sessions.new_cookie()}"
        async with dialled(url, additional_headers={"cookie": cookie}, origin=url) as socket:
            await socket.say(type="hello")
            assert (await socket.hear())["type"] == "welcome"
        async with dialled(url, additional_headers={"authorization": f"Bearer {TOKEN}"}) as socket:
            await socket.say(type="hello")
            assert (await socket.hear())["type"] == "welcome"


def test_subscriptions_of_one_client_are_bounded(rig):
    client = Client(Outbox())
    for n in range(ws.MAX_SUBSCRIPTIONS + 1):
        ws.handle(rig.deps, client, json.dumps({"type": "sub", "ch": f"bars:AAAA{n}"}).encode())
    assert len(client.subscriptions) == ws.MAX_SUBSCRIPTIONS


async def test_reading_that_fails_is_said_and_begins_again_without_counting_twice(live_rig, monkeypatch, caplog):
    monkeypatch.setattr("tapelab.api.gateway._RETRY_S", 0.01)
    await live_rig.reader.queue.put(signal_records(0, 3))
    live_rig.reader.failure = OSError("broker gone")
    async with live_rig.served():
        while not live_rig.deps.live.signals:
            await asyncio.sleep(0.01)
        await live_rig.reader.queue.put(signal_records(0, 3))
        while live_rig.reader.queue.qsize():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
    assert live_rig.deps.live.totals[topics.SIGNALS] == 3
    assert any("broker gone" in (reason or "") for reason in live_rig.readiness)
    assert live_rig.readiness[-1] is None


async def test_a_lost_redis_gets_its_pointers_back_while_running(live_rig, redis_client, monkeypatch):
    from tests.common.storage.manifests import manifest

    monkeypatch.setattr("tapelab.api.gateway.POINTERS_S", 0.05)
    await live_rig.deps.registry.add_model(manifest(), None)
    await live_rig.deps.registry.set_pointer("champion", "m1", "shadow", reason="x")
    async with live_rig.served():
        await redis_client.flushall()
        async with asyncio.timeout(5):
            while not await redis_client.exists("tapelab:model:champion:default"):
                await asyncio.sleep(0.02)
