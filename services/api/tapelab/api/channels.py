"""Channels of the WebSocket: numbered messages, snapshots, resumption, and clients that cannot keep up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

#: Messages that may wait for one client; beyond it the client gets a gap instead.
OUTBOX_LIMIT: Final = 512
#: Missed deltas that are sent again; a client that missed more gets a snapshot.
RESUME_LIMIT: Final = 256

Encoder = Callable[[], bytes]


class Outbox:
    """What waits to be sent to one client: bounded, in order.

    When it is full, the channel whose message does not fit loses everything it has waiting and its
    subscription, and the client is told so by one ``gap``.
    """

    def __init__(self, limit: int = OUTBOX_LIMIT) -> None:
        self._limit = limit
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._wake = asyncio.Event()
        self.gaps = 0

    def put(self, channel: str, message: bytes) -> bool:
        """Queue a message; False where it did not fit and became a gap."""
        if len(self._waiting) >= self._limit:
            self._waiting = deque(entry for entry in self._waiting if entry[0] != channel)
            self._waiting.append(("", envelope("gap", ch=channel)))
            self.gaps += 1
            self._wake.set()
            return False
        self._waiting.append((channel, message))
        self._wake.set()
        return True

    def put_control(self, message: bytes, *, kind: str = "") -> None:
        """Queue a reply or a heartbeat; of a ``kind`` only the newest waits."""
        if kind:
            self._waiting = deque(entry for entry in self._waiting if entry[0] != kind)
        self._waiting.append((kind, message))
        self._wake.set()

    def forget(self, channel: str) -> None:
        """Drop what waits of a channel."""
        self._waiting = deque(entry for entry in self._waiting if entry[0] != channel)

    def __len__(self) -> int:
        return len(self._waiting)

    async def get(self) -> bytes:
        """The next message, waiting for one."""
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()[1]


class Channel:
    """One numbered sequence of messages.

    Args:
        name: as clients subscribe to it.
        epoch: of the hub; numbers of another epoch mean nothing here.
        snapshot: the channel's whole state now as JSON; consistent with the newest number.
    """

    def __init__(self, name: str, epoch: str, snapshot: Encoder) -> None:
        self.name = name
        self.seq = 0
        self.epoch = epoch
        self._snapshot = snapshot
        self._sent: deque[tuple[int, bytes]] = deque(maxlen=RESUME_LIMIT)
        self.subscribers: set[Client] = set()

    def push(self, data: bytes) -> None:
        """Send a delta to every subscriber."""
        self.seq += 1
        message = envelope("delta", data, ch=self.name, seq=str(self.seq), prev=str(self.seq - 1))
        self._sent.append((self.seq, message))
        self._send(message)

    def data(self) -> bytes:
        """The whole state now as JSON."""
        return self._snapshot()

    def restart(self) -> None:
        """The state began anew: send every subscriber a snapshot."""
        self.seq += 1
        self._sent.clear()
        self._send(self.snapshot())

    def snapshot(self) -> bytes:
        """The snapshot message."""
        return envelope("snapshot", self._snapshot(), ch=self.name, epoch=self.epoch, seq=str(self.seq))

    def since(self, after: int) -> list[bytes] | None:
        """Deltas that follow a number, ``None`` where they are no longer all here."""
        if after == self.seq:
            return []
        if after > self.seq or not self._sent or self._sent[0][0] > after + 1:
            return None
        return [message for seq, message in self._sent if seq > after]

    def _send(self, message: bytes) -> None:
        for client in list(self.subscribers):
            if not client.outbox.put(self.name, message):
                self.subscribers.discard(client)
                client.subscriptions.pop(self.name, None)


class Client:
    """One connection: its outbox and its subscriptions."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.subscriptions: dict[str, Channel] = {}

    def subscribe(self, channel: Channel, epoch: str | None, after: int | None) -> None:
        """Follow a channel from a number of this epoch on, or from a snapshot.

        Subscribing again replaces the subscription, so a client that lost its place can always ask anew.
        """
        self.unsubscribe(channel.name)
        missed = channel.since(after) if epoch == channel.epoch and after is not None else None
        messages = [channel.snapshot()] if missed is None else missed
        channel.subscribers.add(self)
        self.subscriptions[channel.name] = channel
        for message in messages:
            if not self.outbox.put(channel.name, message):
                self.unsubscribe(channel.name)
                return

    def unsubscribe(self, name: str) -> None:
        """Stop following a channel."""
        self.outbox.forget(name)
        channel = self.subscriptions.pop(name, None)
        if channel is not None:
            channel.subscribers.discard(self)

    def heartbeat(self, now_ns: int) -> None:
        """Send the time and the newest number of every followed channel."""
        seqs = {name: str(channel.seq) for name, channel in self.subscriptions.items()}
        self.outbox.put_control(envelope("hb", server_ns=str(now_ns), seqs=seqs), kind="hb")


class Hub:
    """All channels and clients of this process.

    Args:
        epoch: random text, new with every process: numbers of another one are not resumed.
    """

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.clients: set[Client] = set()
        self._channels: dict[str, Channel] = {}

    def define(self, name: str, snapshot: Encoder) -> Channel:
        """The channel of a name, made where it does not exist yet."""
        if name not in self._channels:
            self._channels[name] = Channel(name, self.epoch, snapshot)
        return self._channels[name]

    def find(self, name: str) -> Channel | None:
        """A channel that exists."""
        return self._channels.get(name)

    def seq(self, name: str) -> str:
        """The newest number of a channel."""
        channel = self._channels.get(name)
        return str(channel.seq) if channel else "0"

    def leave(self, client: Client) -> None:
        """Forget a client, and channels that exist only because it asked for them."""
        names = list(client.subscriptions)
        for name in names:
            client.unsubscribe(name)
        self.clients.discard(client)
        self.prune(names)

    def prune(self, names: Iterable[str]) -> None:
        """Drop per-symbol channels that never had a message and have no subscriber."""
        for name in names:
            channel = self._channels.get(name)
            if channel and ":" in name and not channel.seq and not channel.subscribers:
                del self._channels[name]

    def heartbeat(self, now_ns: int) -> None:
        """Send every client a heartbeat."""
        for client in self.clients:
            client.heartbeat(now_ns)


def envelope(kind: str, data: bytes | None = None, **fields: object) -> bytes:
    """A message; ``data`` is JSON already."""
    head = msgspec.json.encode({"type": kind, **fields})
    return head if data is None else head[:-1] + b',"data":' + data + b"}"
