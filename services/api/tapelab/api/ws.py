"""``WS /ws/ml``: the protocol of one connection."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

import msgspec
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from tapelab.api.channels import Channel, Client, Outbox, envelope
from tapelab.api.deps import Deps, deps_of
from tapelab.common.errors import ConfigError

router = APIRouter()

MAX_SUBSCRIPTIONS: Final = 64
MAX_MESSAGE_BYTES: Final = 4096
SNAPSHOT_SIGNALS: Final = 200
SIGNALS: Final = "signals"
DATA: Final = "data"
EXPERIMENTS: Final = "experiments"
BARS_PREFIX: Final = "bars:"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sends. ``epoch`` and ``after`` resume after a number of that epoch."""

    type: Literal["hello", "sub", "unsub"]
    ch: str = ""
    epoch: str | None = None
    after: str | None = None


_DECODER: Final = msgspec.json.Decoder(Message)


def define_channels(deps: Deps) -> None:
    """Make the channels that exist from the start; bars come by symbol (:func:`bars_channel`)."""
    deps.hub.define(SIGNALS, lambda: msgspec.json.encode({"items": list(deps.live.signals)[-SNAPSHOT_SIGNALS:]}))
    deps.hub.define(DATA, lambda: deps.status.build().model_dump_json().encode())


def bars_channel(deps: Deps, symbol: str) -> Channel:
    """The channel of a symbol's bars of the first live specification."""
    spec = deps.live.page_spec
    return deps.hub.define(
        f"{BARS_PREFIX}{symbol}", lambda: msgspec.json.encode({"items": deps.live.bars(symbol, spec)})
    )


@router.websocket("/ws/ml")
async def ml(websocket: WebSocket) -> None:
    """Serve one client until either side leaves."""
    deps = deps_of(websocket)
    await websocket.accept()
    client = Client(Outbox())
    deps.hub.clients.add(client)
    sending = asyncio.create_task(_send(websocket, client.outbox))
    receiving = asyncio.create_task(_receive(websocket, deps, client))
    try:
        done, _ = await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except WebSocketDisconnect:
        deps.log.debug("a client has left")
    finally:
        deps.hub.leave(client)
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)


async def _send(websocket: WebSocket, outbox: Outbox) -> None:
    while True:
        await websocket.send_text((await outbox.get()).decode())


async def _receive(websocket: WebSocket, deps: Deps, client: Client) -> None:
    while True:
        text = await websocket.receive()
        if text["type"] == "websocket.disconnect":
            return
        raw = text.get("text")
        handle(deps, client, None if raw is None else raw.encode())


def handle(deps: Deps, client: Client, raw: bytes | None) -> None:
    """Act on one message of a client; whatever is wrong with it is answered, never fatal."""
    if raw is None or len(raw) > MAX_MESSAGE_BYTES:
        actual = "a binary message" if raw is None else f"{len(raw)} bytes"
        _error(client, "bad_message", f"a text of at most {MAX_MESSAGE_BYTES} bytes", actual, "send JSON text")
        return
    try:
        message = _DECODER.decode(raw)
        after = None if message.after is None else int(message.after)
    except (msgspec.MsgspecError, ValueError) as error:
        expected = '{"type": "hello" | "sub" | "unsub", "ch", "epoch"?, "after"?: a number as text}'
        _error(client, "bad_message", expected, str(error), "correct the message")
        return
    if message.type == "hello":
        client.outbox.put_control(
            envelope("welcome", epoch=deps.hub.epoch, server_ns=str(deps.clock.now_ns())), kind="welcome"
        )
    elif message.type == "unsub":
        client.unsubscribe(message.ch)
        deps.hub.prune([message.ch])
    elif message.ch not in client.subscriptions and len(client.subscriptions) >= MAX_SUBSCRIPTIONS:
        _error(
            client,
            "too_many_subscriptions",
            f"at most {MAX_SUBSCRIPTIONS} channels",
            f"a request for {message.ch}",
            "unsub from one first",
        )
    else:
        channel = _find(deps, message.ch)
        if channel is None:
            expected = f"{SIGNALS}, {DATA}, {EXPERIMENTS} or {BARS_PREFIX}SYMBOL of a known instrument"
            _error(client, "unknown_channel", expected, message.ch, "correct ch")
        else:
            client.subscribe(channel, message.epoch, after)


def _find(deps: Deps, name: str) -> Channel | None:
    if not name.startswith(BARS_PREFIX):
        return deps.hub.find(name)
    symbol = name.removeprefix(BARS_PREFIX)
    try:
        deps.instruments.of(symbol)
    except ConfigError:
        return None
    return bars_channel(deps, symbol)


def _error(client: Client, code: str, expected: str, actual: str, remedy: str) -> None:
    # Only the newest error waits, so a client that floods us with nonsense costs no memory.
    client.outbox.put_control(
        envelope("error", code=code, expected=expected, actual=actual[:200], remedy=remedy), kind="error"
    )
