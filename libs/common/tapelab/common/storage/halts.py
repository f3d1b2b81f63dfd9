"""Halts in Redis: symbols that may hold no position, and why."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from tapelab.common.errors import RegistryError
from tapelab.common.storage.redis import key

#: Field of the hash that halts every symbol.
ALL_SYMBOLS: Final = "*"


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """Why a symbol is halted, who said so, and when."""

    reason: str
    by: str
    set_ns: int


_DECODER: Final = msgspec.json.Decoder(Halt)


def halts_key(namespace: str = "") -> str:
    """Redis key of the hash symbol (or ``*``) to halt."""
    return key(namespace, "halts")


async def read_halts(redis: Redis, namespace: str = "") -> dict[str, Halt]:
    """All halts by symbol; ``*`` holds for every symbol.

    Raises:
        RegistryError: an entry cannot be read. A halt must never be overlooked.
    """
    halts = {}
    found: dict[Any, Any] = await redis.hgetall(halts_key(namespace))
    for field, value in sorted(found.items()):
        try:
            halts[field.decode()] = _DECODER.decode(value)
        except msgspec.MsgspecError as error:
            raise RegistryError(
                f"halt of {field.decode()!r} in Redis key {halts_key(namespace)} cannot be read",
                expected="JSON with reason, by and set_ns",
                actual=f"{value[:80]!r} ({error})",
                remedy="set it again with tapelab halt, or remove it with tapelab resume",
            ) from error
    return halts


async def set_halt(redis: Redis, symbol: str, halt: Halt, namespace: str = "") -> None:
    """Halt a symbol, or all with ``*``."""
    await redis.hset(halts_key(namespace), symbol, msgspec.json.encode(halt))


async def clear_halt(redis: Redis, symbol: str, namespace: str = "") -> bool:
    """End a halt; False where there was none."""
    return bool(await redis.hdel(halts_key(namespace), symbol))


def halt_of(halts: dict[str, Halt], symbol: str) -> Halt | None:
    """The halt that holds for a symbol: its own, or the one of all."""
    return halts.get(symbol) or halts.get(ALL_SYMBOLS)
