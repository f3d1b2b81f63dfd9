"""Channels, outboxes and clients."""

from __future__ import annotations

import asyncio
import json

import pytest

from tapelab.api.channels import RESUME_LIMIT, Client, Hub, Outbox


@pytest.fixture
def hub() -> Hub:
    return Hub("e1")


def drain(client: Client) -> list[dict]:
    messages = []
    while len(client.outbox):
        messages.append(json.loads(asyncio.run(client.outbox.get())))
    return messages


def test_a_subscriber_gets_a_snapshot_then_deltas_that_follow_each_other(hub):
    state = []
    channel = hub.define("signals", lambda: json.dumps(state).encode())
    channel.push(b"0")
    client = Client(Outbox())
    client.subscribe(channel, None, None)
    for n in (1, 2):
        channel.push(str(n).encode())
    snapshot, first, second = drain(client)
    assert snapshot == {"type": "snapshot", "ch": "signals", "epoch": "e1", "seq": "1", "data": []}
    assert first == {"type": "delta", "ch": "signals", "seq": "2", "prev": "1", "data": 1}
    assert (second["seq"], second["prev"]) == ("3", "2")


@pytest.mark.parametrize(
    ("epoch", "after", "expected"),
    [
        ("e1", 3, [("delta", "4"), ("delta", "5")]),
        ("e1", 5, []),
        ("e1", 6, [("snapshot", "5")]),
        ("e0", 3, [("snapshot", "5")]),
        ("e1", None, [("snapshot", "5")]),
    ],
)
def test_resuming_sends_what_was_missed_or_a_snapshot(hub, epoch, after, expected):
    channel = hub.define("signals", lambda: b"[]")
    for n in range(5):
        channel.push(str(n).encode())
    client = Client(Outbox())
    client.subscribe(channel, epoch, after)
    assert [(message["type"], message["seq"]) for message in drain(client)] == expected


def test_a_client_that_missed_too_much_gets_a_snapshot(hub):
    channel = hub.define("signals", lambda: b"[]")
    for n in range(RESUME_LIMIT + 2):
        channel.push(str(n).encode())
    client = Client(Outbox())
    client.subscribe(channel, "e1", 1)
    assert [message["type"] for message in drain(client)] == ["snapshot"]


def test_a_slow_client_gets_one_gap_and_the_other_channels_stay(hub):
    fast, slow_channel = hub.define("fast", lambda: b"[]"), hub.define("other", lambda: b"[]")
    client, witness = Client(Outbox(limit=4)), Client(Outbox())
    for one in (client, witness):
        one.subscribe(fast, None, None)
        one.subscribe(slow_channel, None, None)
    for n in range(10):
        fast.push(str(n).encode())
    assert [message["type"] for message in drain(client)] == ["snapshot", "gap"]
    assert list(client.subscriptions) == ["other"]
    assert len(drain(witness)) == 12
    client.subscribe(fast, "e1", 8)
    assert [message["seq"] for message in drain(client)] == ["9", "10"]


def test_a_restarted_channel_sends_a_snapshot_that_cannot_be_resumed_across(hub):
    channel = hub.define("bars:X", lambda: b"[]")
    channel.push(b"1")
    client = Client(Outbox())
    client.subscribe(channel, "e1", 1)
    channel.restart()
    assert [(message["type"], message["seq"]) for message in drain(client)] == [("snapshot", "2")]
    late = Client(Outbox())
    late.subscribe(channel, "e1", 1)
    assert [message["type"] for message in drain(late)] == ["snapshot"]


def test_a_heartbeat_carries_the_numbers_of_followed_channels_and_only_the_newest_waits(hub):
    channel = hub.define("signals", lambda: b"[]")
    client = Client(Outbox())
    hub.clients.add(client)
    client.subscribe(channel, None, None)
    hub.heartbeat(1)
    channel.push(b"1")
    hub.heartbeat(2)
    assert drain(client)[-1] == {"type": "hb", "server_ns": "2", "seqs": {"signals": "1"}}


def test_channels_that_only_a_client_asked_for_go_with_it(hub):
    client = Client(Outbox())
    hub.clients.add(client)
    client.subscribe(hub.define("bars:X", lambda: b"[]"), None, None)
    client.subscribe(hub.define("signals", lambda: b"[]"), None, None)
    hub.leave(client)
    assert (hub.find("bars:X"), hub.find("signals") is not None, hub.clients) == (None, True, set())


def test_unsubscribing_drops_what_waits(hub):
    channel = hub.define("signals", lambda: b"[]")
    client = Client(Outbox())
    client.subscribe(channel, None, None)
    client.unsubscribe("signals")
    channel.push(b"1")
    assert drain(client) == []
