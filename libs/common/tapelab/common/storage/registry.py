"""The model registry: models, their gates, and the history of every pointer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal

import asyncpg
import msgspec
from redis.asyncio import Redis

from tapelab.common.clock import Clock
from tapelab.common.errors import RegistryError
from tapelab.common.serving.manifest import Manifest, decode_manifest, encode_manifest
from tapelab.common.storage.pointers import (
    DEFAULT,
    Mode,
    Pointer,
    Role,
    delete_pointer,
    pointer_key,
    read_pointers,
    write_pointer,
)

# Any fixed number: one pointer change at a time, from the history's row to the key in Redis.
_POINTER_LOCK: Final = 7_409_002


class UnknownModel(RegistryError):
    """There is no model of that id."""


class GateRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the promotion gate and what it found; ``value`` is held against ``limit``."""

    id: str
    passed: bool
    value: float | None = None
    limit: float | None = None
    reason: str = ""
    evidence: dict[str, Any] = {}


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A registered model; ``gate`` is ``None`` until the gate has judged it."""

    model_id: str
    digest: str
    experiment_id: str | None
    manifest: Manifest
    gate: list[GateRule] | None
    created_ns: int

    @property
    def passed(self) -> bool:
        """Whether the gate has judged the model and every rule holds."""
        return bool(self.gate) and all(rule.passed for rule in self.gate or ())


class PointerChange(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the history: the pointer as it became, and why."""

    pointer: Pointer
    action: Literal["set", "rollback", "retire"]
    reason: str
    gate: list[GateRule]


class Registry:
    """Models and pointers in PostgreSQL; the current pointers in Redis as well.

    A pointer changes in one recorded step: a row of history is committed, then Redis follows, both under
    one lock. Where Redis could not follow, :meth:`rebuild_redis` brings it up to the history.
    """

    def __init__(self, pool: asyncpg.Pool, redis: Redis, clock: Clock, namespace: str = "") -> None:
        self._pool = pool
        self._redis = redis
        self._clock = clock
        self._namespace = namespace

    async def add_model(
        self, manifest: Manifest, experiment_id: str | None, gate: Sequence[GateRule] | None = None
    ) -> ModelRow:
        """Register a model; repeating it with the same manifest changes nothing.

        Raises:
            RegistryError: the id is taken by another manifest.
        """
        await self._pool.execute(
            "INSERT INTO models (model_id, digest, experiment_id, manifest, gate, created_ns) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (model_id) DO NOTHING",
            manifest.model_id,
            manifest.digest,
            experiment_id,
            encode_manifest(manifest).decode(),
            None if gate is None else msgspec.to_builtins(list(gate)),
            self._clock.now_ns(),
        )
        row = await self.model(manifest.model_id)
        if row.digest != manifest.digest:
            raise RegistryError(
                f"model id {manifest.model_id} is taken",
                expected=f"a new id, or the manifest with digest {row.digest}",
                actual=f"digest {manifest.digest}",
                remedy="give the model another id",
            )
        return row

    async def record_gate(self, model_id: str, gate: Sequence[GateRule]) -> ModelRow:
        """Keep the gate's judgement with the model.

        Raises:
            UnknownModel: there is no such model.
        """
        await self._pool.execute(
            "UPDATE models SET gate = $2 WHERE model_id = $1", model_id, msgspec.to_builtins(list(gate))
        )
        return await self.model(model_id)

    async def models(self, limit: int = 200) -> list[ModelRow]:
        """The newest models, newest first."""
        rows = await self._pool.fetch(
            "SELECT model_id, digest, experiment_id, manifest, gate, created_ns FROM models "
            "ORDER BY created_ns DESC, model_id LIMIT $1",
            limit,
        )
        return [_model_row(row) for row in rows]

    async def model(self, model_id: str) -> ModelRow:
        """One model.

        Raises:
            UnknownModel: there is no such model.
        """
        row = await self._pool.fetchrow(
            "SELECT model_id, digest, experiment_id, manifest, gate, created_ns FROM models WHERE model_id = $1",
            model_id,
        )
        if row is None:
            raise UnknownModel(
                "no such model",
                expected="the id of a registered model",
                actual=repr(model_id),
                remedy="take the id from tapelab models list",
            )
        return _model_row(row)

    async def set_pointer(
        self,
        role: Role,
        model_id: str,
        mode: Mode,
        symbol: str = DEFAULT,
        *,
        reason: str,
        gate: Sequence[GateRule] = (),
    ) -> Pointer:
        """Point a role to a model: a row of history, then Redis.

        Args:
            gate: the judgement this rests on; where given it is kept with the model as well.

        Raises:
            UnknownModel: there is no such model.
        """
        model = await self.model(model_id)
        rules = msgspec.to_builtins(list(gate))
        async with self._changing() as conn:
            async with conn.transaction():
                if rules:
                    await conn.execute("UPDATE models SET gate = $2 WHERE model_id = $1", model_id, rules)
                current = await _current(conn, role, symbol)
                pointer = await self._append(
                    conn,
                    role,
                    symbol,
                    model_id,
                    model.digest,
                    mode,
                    "set",
                    _below(current),
                    reason,
                    rules,
                )
            await write_pointer(self._redis, pointer, self._namespace)
        return pointer

    async def rollback(
        self, role: Role, symbol: str = DEFAULT, *, reason: str = "rolled back", retired_too: bool = True
    ) -> Pointer:
        """Point a role back to what it pointed to before, mode included. Repeating it goes further back.

        Args:
            retired_too: also to a model that :meth:`retire` has taken off since.

        Raises:
            RegistryError: there is nothing before the current pointer, or it was retired and ``retired_too``
                is false.
        """
        async with self._changing() as conn:
            async with conn.transaction():
                current = await _current(conn, role, symbol)
                if current is None or current["below"] is None:
                    raise RegistryError(
                        f"{role} of {symbol} cannot be rolled back",
                        expected="a model that was set before the current one",
                        actual="no pointer" if current is None else f"{current['model_id']}, with none before it",
                        remedy="promote another model instead, or halt with tapelab halt",
                    )
                target = await conn.fetchrow("SELECT * FROM pointer_history WHERE version = $1", current["below"])
                retired = await _retired_since(conn, role, symbol, current["below"])
                if retired is not None and not retired_too:
                    raise RegistryError(
                        f"{role} of {symbol} cannot be rolled back",
                        expected="a model of the current run",
                        actual=f"{target['model_id']}, {told_retirement(_change(retired))}",
                        remedy="promote another model, or use force where that reason does not hold any more",
                    )
                pointer = await self._append(
                    conn,
                    role,
                    symbol,
                    target["model_id"],
                    target["digest"],
                    target["mode"],
                    "rollback",
                    target["below"],
                    reason,
                    target["gate"],
                )
            await write_pointer(self._redis, pointer, self._namespace)
        return pointer

    async def retire(self, role: Role, symbol: str = DEFAULT, *, reason: str) -> Pointer | None:
        """Take a role's model off; what it pointed to, or None where it pointed to nothing.

        A rollback after it points to that model again.
        """
        async with self._changing() as conn:
            async with conn.transaction():
                current = await _current(conn, role, symbol)
                if current is None or current["action"] == "retire":
                    return None
                await self._append(
                    conn,
                    role,
                    symbol,
                    current["model_id"],
                    current["digest"],
                    current["mode"],
                    "retire",
                    current["version"],
                    reason,
                    [],
                )
            await delete_pointer(self._redis, role, symbol, self._namespace)
        return _pointer(current)

    async def retirement_undone(self, role: Role, symbol: str = DEFAULT) -> PointerChange | None:
        """The retirement that a rollback would go back behind, None where there is none."""
        current = await _current(self._pool, role, symbol)
        if current is None or current["below"] is None:
            return None
        retired = await _retired_since(self._pool, role, symbol, current["below"])
        return None if retired is None else _change(retired)

    async def pointers(self) -> list[Pointer]:
        """The current pointers as the history has them, in the order of :func:`read_pointers`."""
        return await _all_current(self._pool)

    async def history(self, limit: int = 200) -> list[PointerChange]:
        """Every change of a pointer, newest first."""
        rows = await self._pool.fetch("SELECT * FROM pointer_history ORDER BY version DESC LIMIT $1", limit)
        return [_change(row) for row in rows]

    async def rebuild_redis(self) -> list[Pointer]:
        """Make Redis hold exactly the current pointers of the history; the ones it had to write."""
        async with self._changing() as conn:
            wanted = await _all_current(conn)
            try:
                found = await read_pointers(self._redis, self._namespace)
            except RegistryError:
                found = []  # a key that cannot be read is written anew below
            changed = [pointer for pointer in wanted if pointer not in found]
            for pointer in changed:
                await write_pointer(self._redis, pointer, self._namespace)
            kept = {(pointer.role, pointer.symbol) for pointer in wanted}
            for pointer in found:
                if (pointer.role, pointer.symbol) not in kept:
                    await self._redis.delete(pointer_key(pointer.role, pointer.symbol, self._namespace))
        return changed

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[Any]:
        """A connection that holds the lock over the history's row and the key that follows it."""
        async with self._pool.acquire() as conn:
            await conn.execute("SELECT pg_advisory_lock($1)", _POINTER_LOCK)
            try:
                yield conn
            finally:
                await conn.execute("SELECT pg_advisory_unlock($1)", _POINTER_LOCK)

    async def _append(
        self,
        conn: Any,
        role: Role,
        symbol: str,
        model_id: str,
        digest: str,
        mode: Mode,
        action: str,
        below: int | None,
        reason: str,
        gate: Any,
    ) -> Pointer:
        row = await conn.fetchrow(
            "INSERT INTO pointer_history (role, symbol, model_id, digest, mode, action, below, reason, gate, set_ns) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *",
            role,
            symbol,
            model_id,
            digest,
            mode,
            action,
            below,
            reason,
            gate,
            self._clock.now_ns(),
        )
        return _pointer(row)


def told_retirement(change: PointerChange) -> str:
    """When and why a role's model was retired, for a person."""
    at = datetime.fromtimestamp(change.pointer.set_ns // 1_000_000_000, UTC)
    return f"from before the role was retired on {at:%Y-%m-%d %H:%M:%S} UTC ({change.reason})"


async def _retired_since(conn: Any, role: str, symbol: str, version: int) -> Any:
    return await conn.fetchrow(
        "SELECT * FROM pointer_history WHERE role = $1 AND symbol = $2 AND action = 'retire' AND version > $3 "
        "ORDER BY version LIMIT 1",
        role,
        symbol,
        version,
    )


async def _current(conn: Any, role: str, symbol: str) -> Any:
    return await conn.fetchrow(
        "SELECT * FROM pointer_history WHERE role = $1 AND symbol = $2 ORDER BY version DESC LIMIT 1", role, symbol
    )


def _below(current: Any) -> int | None:
    """What a rollback of the next row returns to: the row that points to a model now, or last did."""
    if current is None:
        return None
    version: int | None = current["below"] if current["action"] == "retire" else current["version"]
    return version


async def _all_current(conn: Any) -> list[Pointer]:
    rows = await conn.fetch(
        "SELECT DISTINCT ON (role, symbol) * FROM pointer_history ORDER BY role, symbol, version DESC"
    )
    held = (_pointer(row) for row in rows if row["action"] != "retire")
    return sorted(held, key=lambda p: pointer_key(p.role, p.symbol).encode())


def _change(row: Any) -> PointerChange:
    return PointerChange(
        pointer=_pointer(row),
        action=row["action"],
        reason=row["reason"],
        gate=msgspec.convert(row["gate"], list[GateRule]),
    )


def _pointer(row: Any) -> Pointer:
    return Pointer(**{name: row[name] for name in Pointer.__struct_fields__})


def _model_row(row: Any) -> ModelRow:
    return ModelRow(
        model_id=row["model_id"],
        digest=row["digest"],
        experiment_id=row["experiment_id"],
        manifest=decode_manifest(row["manifest"].encode()),
        gate=None if row["gate"] is None else msgspec.convert(row["gate"], list[GateRule]),
        created_ns=row["created_ns"],
    )
