"""Experiments as a queue in PostgreSQL, and what happens to them."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import asyncpg
import msgspec

from tapelab.common.clock import Clock
from tapelab.common.errors import RegistryError
from tapelab.common.schemas.events import Event, EventKind

Status = Literal["queued", "running", "done", "failed", "stopped"]

#: A running experiment whose worker says nothing for so long may be claimed by another one.
STALE_NS: Final = 30_000_000_000
#: An experiment whose workers died so often is failed: it probably kills them.
MAX_ATTEMPTS: Final = 3
#: A name that is the beginning of a model's id as well, and so stands in addresses, labels and commands.
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z"

#: Writes the result of an experiment that is held; see :meth:`Jobs.finishing`.
Finish = Callable[[dict[str, Any]], Awaitable[None]]


class UnknownExperiment(RegistryError):
    """There is no experiment of that id."""


class ExperimentEnded(RegistryError):
    """The experiment is neither queued nor running any more."""


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment. ``progress`` runs from 0 to 1; ``result`` is the trainer's, with ``model_id`` and
    ``gate`` (``{"passed": bool, "rules": [...]}``) where it came so far."""

    number: int
    id: str
    name: str
    status: Status
    config: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    stage: str
    progress: float
    worker: str | None
    attempts: int
    created_ns: int
    updated_ns: int
    heartbeat_ns: int | None


class ExperimentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of experiments shows, without configuration and full result."""

    number: int
    id: str
    name: str
    status: Status
    error: str | None
    stage: str
    progress: float
    created_ns: int
    updated_ns: int
    model_id: str | None
    gate: dict[str, Any] | None


_COLUMNS: Final = ", ".join(Experiment.__struct_fields__)
_SUMMARY: Final = (
    "number, id, name, status, error, stage, progress, created_ns, updated_ns, "
    "result ->> 'model_id' AS model_id, "
    "CASE WHEN jsonb_typeof(result -> 'gate') = 'object' THEN result -> 'gate' END AS gate"
)


class Jobs:
    """The queue of experiments: any number of writers and workers, each experiment worked on by one."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def create(self, config: dict[str, Any], name: str) -> Experiment:
        """Queue an experiment."""
        row = await self._pool.fetchrow(
            "INSERT INTO experiments (name, status, config, created_ns, updated_ns) "
            f"VALUES ($1, 'queued', $2, $3, $3) RETURNING {_COLUMNS}",
            name,
            config,
            self._clock.now_ns(),
        )
        return Experiment(**row)

    async def claim(self, worker: str) -> Experiment | None:
        """The oldest experiment that waits, or whose worker has died; ``None`` where there is none.

        One that has lost its worker ``MAX_ATTEMPTS`` times is failed instead.
        """
        now = self._clock.now_ns()
        # A wall clock that was set back leaves heartbeats in the future; a worker that lives corrects its own.
        stale, ahead = now - STALE_NS, now + STALE_NS
        await self._pool.execute(
            "UPDATE experiments SET status = 'failed', updated_ns = $1, error = $3 "
            "WHERE status = 'running' AND (heartbeat_ns < $2 OR heartbeat_ns > $5) AND attempts >= $4",
            now,
            stale,
            f"its worker died {MAX_ATTEMPTS} times; read the trainer's log, correct the cause and start it anew",
            MAX_ATTEMPTS,
            ahead,
        )
        row = await self._pool.fetchrow(
            "UPDATE experiments SET status = 'running', worker = $1, heartbeat_ns = $2, updated_ns = $2, "
            "attempts = attempts + 1, error = NULL, progress = 0, stage = '' WHERE number = ("
            "SELECT number FROM experiments "
            "WHERE status = 'queued' OR (status = 'running' AND (heartbeat_ns < $3 OR heartbeat_ns > $4)) "
            f"ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}",
            worker,
            now,
            stale,
            ahead,
        )
        return None if row is None else Experiment(**row)

    async def heartbeat(self, id: str, worker: str, *, progress: float | None = None, stage: str | None = None) -> bool:
        """Say that the worker lives, and how far it is.

        Returns:
            False where the experiment is no longer this worker's to run (stopped, or claimed by another
            after a silence): the worker must give up without writing a result.
        """
        done = await self._pool.execute(
            "UPDATE experiments SET heartbeat_ns = $3, progress = coalesce($4, progress), stage = coalesce($5, stage), "
            "updated_ns = CASE WHEN $4::float8 IS NULL AND $5::text IS NULL THEN updated_ns ELSE $3 END "
            "WHERE id = $1 AND worker = $2 AND status = 'running'",
            id,
            worker,
            self._clock.now_ns(),
            progress,
            stage,
        )
        return bool(done == "UPDATE 1")

    async def set_status(
        self,
        id: str,
        status: Status,
        error: str | None = None,
        result: dict[str, Any] | None = None,
        *,
        worker: str | None = None,
    ) -> Experiment:
        """Move an experiment to a status; a result that is not given stays as it is.

        Args:
            worker: where given, the change counts only while that worker runs the experiment.

        Raises:
            UnknownExperiment: there is no such experiment.
            RegistryError: another worker holds it, or it was stopped.
        """
        row = await self._pool.fetchrow(
            "UPDATE experiments SET status = $2, error = $3, result = coalesce($4, result), updated_ns = $5, "
            "progress = CASE WHEN $2 = 'done' THEN 1 ELSE progress END "
            f"WHERE id = $1 AND ($6::text IS NULL OR worker = $6 AND status = 'running') RETURNING {_COLUMNS}",
            id,
            status,
            error,
            result,
            self._clock.now_ns(),
            worker,
        )
        if row is None:
            held = await self.get(id)
            raise RegistryError(
                f"experiment {id} is not this worker's",
                expected=f"running, worker {worker}",
                actual=f"{held.status}, worker {held.worker}",
                remedy="drop the result; another worker runs it again, or it was stopped",
            )
        return Experiment(**row)

    async def stop(self, id: str, reason: str) -> tuple[Experiment, Event]:
        """Stop an experiment that waits or runs, and record it; its worker learns of it by its next heartbeat.

        Args:
            reason: kept as the experiment's ``error``.

        Raises:
            UnknownExperiment: there is no such experiment.
            ExperimentEnded: it has ended already.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            row = await conn.fetchrow(
                "UPDATE experiments SET status = 'stopped', error = $2, updated_ns = $3 "
                f"WHERE id = $1 AND status IN ('queued', 'running') RETURNING {_COLUMNS}",
                id,
                reason,
                self._clock.now_ns(),
            )
            if row is not None:
                return Experiment(**row), await self._append(conn, id, "status", _stopped(reason))
        ended = await self.get(id)
        raise ExperimentEnded(
            f"experiment {id} has ended",
            expected="an experiment that is queued or running",
            actual=ended.status,
            remedy="there is nothing to stop; a model that it made is taken back by a rollback",
        )

    async def stop_all(self, reason: str) -> builtins.list[str]:
        """Stop every experiment that waits or runs, and record it; their ids, oldest first."""
        async with self._pool.acquire() as conn, conn.transaction():
            rows = await conn.fetch(
                "UPDATE experiments SET status = 'stopped', error = $1, updated_ns = $2 "
                "WHERE status IN ('queued', 'running') RETURNING number, id",
                reason,
                self._clock.now_ns(),
            )
            stopped = [row["id"] for row in sorted(rows, key=lambda row: int(row["number"]))]
            for id in stopped:
                await self._append(conn, id, "status", _stopped(reason))
        return stopped

    @asynccontextmanager
    async def finishing(self, id: str, worker: str) -> AsyncIterator[Finish | None]:
        """Hold an experiment while its worker registers what it made; a stop that comes meanwhile waits.

        So what is registered and the status ``done`` happen together or, after a stop, not at all.
        Heartbeats wait as well: inside, call none and await none.

        Yields:
            writes the result and the status ``done``; None where the experiment is no longer this worker's.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            held = await conn.fetchval(
                "SELECT 1 FROM experiments WHERE id = $1 AND worker = $2 AND status = 'running' FOR UPDATE",
                id,
                worker,
            )

            async def finish(result: dict[str, Any]) -> None:
                await conn.execute(
                    "UPDATE experiments SET status = 'done', error = NULL, result = $2, updated_ns = $3, progress = 1 "
                    "WHERE id = $1",
                    id,
                    result,
                    self._clock.now_ns(),
                )

            yield finish if held else None

    async def get(self, id: str) -> Experiment:
        """One experiment.

        Raises:
            UnknownExperiment: there is no such experiment.
        """
        row = await self._pool.fetchrow(f"SELECT {_COLUMNS} FROM experiments WHERE id = $1", id)
        if row is None:
            raise UnknownExperiment(
                "no such experiment",
                expected="the id of an experiment",
                actual=repr(id),
                remedy="take the id from the list of experiments",
            )
        return Experiment(**row)

    async def list(self, limit: int = 100) -> builtins.list[Experiment]:
        """The newest experiments, newest first."""
        rows = await self._pool.fetch(f"SELECT {_COLUMNS} FROM experiments ORDER BY number DESC LIMIT $1", limit)
        return [Experiment(**row) for row in rows]

    async def summaries(self, limit: int = 200, before: int | None = None) -> builtins.list[ExperimentSummary]:
        """The newest experiments, newest first, as a list shows them.

        Args:
            before: only experiments whose number is lower.
        """
        rows = await self._pool.fetch(
            f"SELECT {_SUMMARY} FROM experiments WHERE $2::bigint IS NULL OR number < $2 ORDER BY number DESC LIMIT $1",
            limit,
            before,
        )
        return [ExperimentSummary(**row) for row in rows]

    async def append_event(self, subject: str, kind: EventKind, data: dict[str, Any]) -> Event:
        """Record what happened; ``seq`` follows the subject's last one without a hole."""
        async with self._pool.acquire() as conn, conn.transaction():
            return await self._append(conn, subject, kind, data)

    async def _append(self, conn: Any, subject: str, kind: EventKind, data: dict[str, Any]) -> Event:
        """Record an event within the connection's transaction."""
        now = self._clock.now_ns()
        # The lock comes in a statement of its own, so that the next one sees what the holder wrote.
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('event:' || $1, 0))", subject)
        seq = await conn.fetchval(
            "INSERT INTO experiment_events (subject, seq, kind, ts_ns, data) "
            "SELECT $1, coalesce(max(seq), 0) + 1, $2, $3, $4 FROM experiment_events WHERE subject = $1 "
            "RETURNING seq",
            subject,
            kind,
            now,
            data,
        )
        return Event(subject=subject, seq=seq, kind=kind, ts_ns=now, data=data)

    async def events(self, subject: str, after_seq: int = 0, limit: int = 1000) -> builtins.list[Event]:
        """Events of a subject after a sequence number, in order."""
        rows = await self._pool.fetch(
            "SELECT subject, seq, kind, ts_ns, data FROM experiment_events "
            "WHERE subject = $1 AND seq > $2 ORDER BY seq LIMIT $3",
            subject,
            after_seq,
            limit,
        )
        return [Event(**row) for row in rows]


def _stopped(reason: str) -> dict[str, Any]:
    return {"status": "stopped", "reason": reason}
