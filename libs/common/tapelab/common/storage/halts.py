"""Halts: symbols that may hold no position, and why.

PostgreSQL holds the truth as a history that only grows; Redis holds what is current, because inference reads it
there. A halt is written to both, PostgreSQL first. Where PostgreSQL is away a halt still takes effect through Redis
and is entered into the history later; where Redis is away, or was lost, it is brought up to the history.

A halt waits for nobody: its row is a statement of its own, without a lock. What ends a halt, or brings the stores
together, does one after the other under a lock, and touches a field of Redis only if no halt came in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tapelab.common.errors import RegistryError
from tapelab.common.storage.postgres import DatabaseAway, is_away
from tapelab.common.storage.redis import ANSWER_S, key

T = TypeVar("T")

#: Field of the hash that halts every symbol.
ALL_SYMBOLS: Final = "*"


# Any fixed number: one end of a halt, or one sync, at a time, from the history's row to the field in Redis.
_HALT_LOCK: Final = 7_409_003
#: How long a change waits for that lock: longer than who holds it may wait for Redis.
_LOCK_S: Final = 2 * ANSWER_S
#: How long an emergency stop waits for a connection to PostgreSQL, and for its answer, before it goes on without.
_PATIENCE_S: Final = 1.5
# KEYS: the hash. ARGV: field, the value it must still have ("" for none), the value it gets ("" for none).
_EXCHANGE: Final = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
_LOST: Final = (RedisError, OSError, TimeoutError)


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """Why a symbol is halted, who said so, and when; ``number`` is its row of the history, 0 until it has one."""

    reason: str
    by: str
    set_ns: int
    number: int = 0


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


class Written(NamedTuple):
    """Where a halt stands now: why it is not in the history, or not in Redis, and ``None`` where it is."""

    not_recorded: str | None
    not_current: str | None

    @property
    def warning(self) -> str:
        """What a person must know; empty where both stores have it."""
        if self.not_recorded is not None:
            return (
                f"it holds, but PostgreSQL does not answer ({self.not_recorded}); the gateway enters it into the "
                "history when the database is back, and it is lost if Redis is lost before that"
            )
        if self.not_current is not None:
            return (
                f"it is recorded, but Redis does not answer ({self.not_current}), and inference reads it there: it "
                "takes effect when Redis is back; stop inference by hand if that cannot wait"
            )
        return ""


class Halts:
    """Sets and ends halts, and keeps Redis and the history together."""

    def __init__(self, pool: asyncpg.Pool, redis: Redis, namespace: str = "") -> None:
        self._pool = pool
        self._redis = redis
        self._namespace = namespace

    async def halt(self, symbol: str, halt: Halt) -> Written:
        """Halt a symbol, or all with ``*``. One of the two stores is enough; :meth:`sync` completes the other.

        Raises:
            DatabaseAway: neither store answers.
        """
        try:
            kept = await self._record(symbol, halt)
        except Exception as error:
            if not is_away(error):
                raise
            not_recorded = _told(error)
        else:
            return Written(None, await self._set(symbol, kept))
        not_current = await self._set(symbol, msgspec.structs.replace(halt, number=0))
        if not_current is not None:
            raise DatabaseAway(
                f"{symbol} is NOT halted",
                expected="PostgreSQL or Redis to take the halt",
                actual=f"PostgreSQL: {not_recorded}; Redis: {not_current}",
                remedy="stop inference, or the execution engine, by hand; then bring one of the stores back",
            )
        return Written(not_recorded, None)

    async def resume(self, symbol: str, halt: Halt) -> tuple[bool, Written]:
        """End a halt; whether there was one. ``halt`` says who ends it and why.

        Raises:
            DatabaseAway: PostgreSQL is away, and the halt would come back from its history.
        """
        try:
            async with self._changing() as conn:
                was = symbol in await _current(conn)
                found, not_current = b"", None
                try:  # before the row: a halt that is set after it must stay
                    found = (await self._raw()).get(symbol, b"")
                except _LOST as error:
                    not_current = _told(error)
                if was:
                    await _append(conn, symbol, "resume", halt)
                cleared = False
                if found:
                    try:
                        cleared = await self._exchange(symbol, found, b"")
                    except _LOST as error:
                        not_current = _told(error)
                return was or cleared, Written(None, not_current)
        except Exception as error:
            if not is_away(error):
                raise
            raise DatabaseAway(
                f"{symbol} cannot be resumed",
                expected="PostgreSQL, which holds the history of halts",
                actual=_told(error),
                remedy="bring the database back first: a halt that is not ended there would return from it",
            ) from error

    async def current(self) -> dict[str, Halt]:
        """All halts by symbol: from Redis, where inference reads them, or from the history while Redis is away."""
        try:
            return await read_halts(self._redis, self._namespace)
        except _LOST:
            async with self._pool.acquire() as conn:
                return await _current(conn)

    async def sync(self) -> list[str]:
        """Bring Redis and the history together, so that no halt is lost; what was done, in words."""
        await self._raw()  # a Redis that does not answer is met before the lock is taken
        done: list[str] = []
        async with self._changing() as conn:
            # Redis first: a halt that is set from here on is in the history that is read next.
            raw = await self._raw()
            found = {symbol: _readable(value) for symbol, value in raw.items()}
            wanted = await _current(conn)
            rows = [h.number for h in found.values() if h is not None]
            known = {row["number"] for row in await conn.fetch("SELECT number FROM halts WHERE number = ANY($1)", rows)}
            for symbol, halt in found.items():
                if halt is not None and halt.number not in known:
                    wanted[symbol] = await _append(conn, symbol, "halt", halt)
                    done.append(f"halt of {symbol} entered into the history")
            for symbol, halt in wanted.items():
                if found.get(symbol) != halt:
                    was = raw.get(symbol, b"")
                    if await self._exchange(symbol, was, msgspec.json.encode(halt)) and not was:
                        done.append(f"halt of {symbol} written to Redis again")
            for symbol in sorted(found.keys() - wanted.keys()):
                # What cannot be read is left: it may be a halt.
                if found[symbol] is not None and await self._exchange(symbol, raw[symbol], b""):
                    done.append(f"halt of {symbol}, which had been ended, removed from Redis")
        return done

    async def _raw(self) -> dict[str, bytes]:
        """What Redis holds, as it holds it."""
        call: Any = self._redis.hgetall(halts_key(self._namespace))
        raw: dict[bytes, bytes] = await _soon(call)
        return {field.decode(): value for field, value in sorted(raw.items())}

    async def _exchange(self, symbol: str, was: bytes, now: bytes) -> bool:
        """Change or remove (``b""``) a field if it is still what it was; whether it was."""
        call: Any = self._redis.eval(_EXCHANGE, 1, halts_key(self._namespace), symbol, was, now)
        return bool(await _soon(call))

    async def _set(self, symbol: str, halt: Halt) -> str | None:
        try:
            call: Any = self._redis.hset(halts_key(self._namespace), symbol, msgspec.json.encode(halt))
            await _soon(call)
        except _LOST as error:
            return _told(error)
        return None

    async def _record(self, symbol: str, halt: Halt) -> Halt:
        conn = await self._pool.acquire(timeout=_PATIENCE_S)
        try:
            return await _append(conn, symbol, "halt", halt)
        except TimeoutError:
            conn.terminate()  # to give it back whole would mean to wait for the database again
            raise
        finally:
            await self._pool.release(conn)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[Any]:
        """A connection that holds the lock over the history's row and the field that follows it."""
        async with self._pool.acquire(timeout=_LOCK_S) as conn:
            await conn.execute("SELECT pg_advisory_lock($1)", _HALT_LOCK, timeout=_LOCK_S)
            try:
                yield conn
            finally:
                if not conn.is_closed():  # the lock ends with the connection
                    await conn.execute("SELECT pg_advisory_unlock($1)", _HALT_LOCK, timeout=_LOCK_S)


async def _append(conn: Any, symbol: str, action: str, halt: Halt) -> Halt:
    number = await conn.fetchval(
        "INSERT INTO halts (symbol, action, reason, by, set_ns) VALUES ($1, $2, $3, $4, $5) RETURNING number",
        symbol,
        action,
        halt.reason,
        halt.by,
        halt.set_ns,
        timeout=_PATIENCE_S,
    )
    return msgspec.structs.replace(halt, number=int(number))


async def _current(conn: Any) -> dict[str, Halt]:
    """The halts in force as the history has them."""
    rows = await conn.fetch("SELECT DISTINCT ON (symbol) * FROM halts ORDER BY symbol, number DESC")
    return {
        row["symbol"]: Halt(reason=row["reason"], by=row["by"], set_ns=row["set_ns"], number=row["number"])
        for row in rows
        if row["action"] == "halt"
    }


async def _soon(call: Awaitable[T]) -> T:
    """What Redis answers, or a TimeoutError: a connection and a command together get no more than one of them."""
    async with asyncio.timeout(ANSWER_S):
        return await call


def _readable(value: bytes) -> Halt | None:
    try:
        return _DECODER.decode(value)
    except msgspec.MsgspecError:
        return None


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else f"{type(error).__name__}: no answer in time"


def halt_of(halts: dict[str, Halt], symbol: str) -> Halt | None:
    """The halt that holds for a symbol: its own, or the one of all."""
    return halts.get(symbol) or halts.get(ALL_SYMBOLS)
