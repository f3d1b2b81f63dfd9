"""Model pointers in Redis: which model holds which role, for a symbol or by default."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from redis.asyncio import Redis

from tapelab.common.errors import RegistryError
from tapelab.common.storage.redis import key

Role = Literal["champion", "challenger"]
Mode = Literal["live", "canary", "shadow"]

ROLES: Final[tuple[Role, ...]] = ("champion", "challenger")
DEFAULT: Final = "default"


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """A role's current model. ``symbol`` is ``default`` or one symbol, which then takes precedence.

    ``digest`` is the manifest's; ``version`` grows with every change of any pointer.
    """

    role: Role
    symbol: str
    model_id: str
    digest: str
    mode: Mode
    version: int
    set_ns: int


_DECODER: Final = msgspec.json.Decoder(Pointer)


def pointer_key(role: str, symbol: str, namespace: str = "") -> str:
    """Redis key of one pointer."""
    return key(namespace, f"model:{role}:{symbol}")


def changes_channel(namespace: str = "") -> str:
    """Redis channel on which every change is announced as the pointer's JSON."""
    return key(namespace, "model:changes")


async def read_pointers(redis: Redis, namespace: str = "") -> list[Pointer]:
    """All pointers, in the order of their keys; empty where there is none.

    Raises:
        RegistryError: a key holds something that is not a pointer.
    """
    pattern = pointer_key("*", "*", _escaped(namespace))
    keys = sorted([name async for name in redis.scan_iter(match=pattern, count=1000)])
    if not keys:
        return []
    pointers = []
    for name, value in zip(keys, await redis.mget(keys), strict=True):
        if value is None:  # deleted between the two calls
            continue
        try:
            pointers.append(_DECODER.decode(value))
        except msgspec.MsgspecError as error:
            raise RegistryError(
                f"Redis key {name.decode()} is not a model pointer",
                expected="JSON with role, symbol, model_id, digest, mode, version and set_ns",
                actual=f"{value[:80]!r} ({error})",
                remedy="delete the key and restart the gateway, which rebuilds Redis from PostgreSQL",
            ) from error
    return pointers


async def write_pointer(redis: Redis, pointer: Pointer, namespace: str = "") -> None:
    """Set a pointer and announce it. Only the registry may call this: PostgreSQL comes first."""
    body = msgspec.json.encode(pointer)
    await redis.set(pointer_key(pointer.role, pointer.symbol, namespace), body)
    await redis.publish(changes_channel(namespace), body)


async def delete_pointer(redis: Redis, role: str, symbol: str, namespace: str = "") -> None:
    """Remove a pointer and announce it with a null. Only the registry may call this."""
    await redis.delete(pointer_key(role, symbol, namespace))
    await redis.publish(changes_channel(namespace), b"null")


def missing_pointer_error(namespace: str = "") -> RegistryError:
    """What to say where neither a champion nor a challenger is set."""
    return RegistryError(
        "no model is set",
        expected=f"a model pointer in Redis key {pointer_key('champion', DEFAULT, namespace)} "
        f"or {pointer_key('challenger', DEFAULT, namespace)}",
        actual="neither key exists",
        remedy="train and promote a model (tapelab train, tapelab models promote MODEL_ID); "
        "after a loss of Redis the gateway restores the pointers from PostgreSQL within some seconds",
    )


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)
