"""PostgreSQL: the pool and the schema."""

from __future__ import annotations

import asyncio
import errno
import logging
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

from tapelab.common.errors import TapelabError

_SCHEMA: Final = Path(__file__).with_name("schema.sql")
# Any fixed number: services that start together must not create the same table twice.
_SCHEMA_LOCK: Final = 7_409_001
_CLOSE_S: Final = 3.0


#: A statement that takes longer has no database behind it any more (a connection that was cut says nothing).
STATEMENT_S: Final = 30.0
#: A service whose statement takes longer says that it waits for the database.
SILENT_S: Final = 5.0

#: Kinds of failure that say "not now" and not "not like this": the statement may be tried again as it is.
_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,  # shut down, crashed, starting up
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.exceptions.PostgresIOError,
)


_FILES: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}


class DatabaseAway(TapelabError):
    """PostgreSQL does not answer now; trying again later may do."""


def is_away(error: BaseException) -> bool:
    """Whether a failure means that the database cannot be worked with now: gone, starting, cut off or full."""
    if isinstance(error, asyncpg.InterfaceError):
        # The same class tells of wrong use; only these are a connection that has ended under the caller.
        return any(said in str(error) for said in ("connection is closed", "connection was closed", "released back"))
    if isinstance(error, asyncpg.InternalClientError):
        # The database died while it told of an error, and the rollback found that unfinished; the pool drops it.
        return "another operation" in str(error)
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _FILES):
        return False  # a file of ours, not a connection
    return isinstance(error, (*_AWAY, DatabaseAway))


async def create_pool(dsn: str, *, max_size: int = 4, lazy: bool = False) -> asyncpg.Pool:
    """A pool whose connections take and give ``json`` and ``jsonb`` as Python values.

    NaN and infinity become ``null`` on the way in, as JSON has neither.

    Args:
        lazy: connect with the first statement instead of now.

    Raises:
        DatabaseAway: nothing answers at the address.
        TapelabError: it refuses.
    """
    # What is away is said once, by who waits for it; the pool logs a traceback for every attempt of its own.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    try:
        return await asyncpg.create_pool(
            dsn,
            min_size=0 if lazy else 1,
            max_size=max_size,
            init=_set_codecs,
            timeout=10,
            command_timeout=STATEMENT_S,
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        kind = DatabaseAway if is_away(error) else TapelabError
        raise kind(
            f"no PostgreSQL at {without_password(dsn)}",
            expected="a database that accepts the connection",
            actual=f"{type(error).__name__}: {error}",
            remedy="start it, or correct TAPELAB_POSTGRES_DSN",
        ) from error


async def close_pool(pool: asyncpg.Pool) -> None:
    """Give the connections back; those that nobody answers any more are dropped."""
    try:
        await asyncio.wait_for(pool.close(), _CLOSE_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        pool.terminate()


async def apply_schema(conn_or_pool: Any) -> None:
    """Create or complete the tables; safe to repeat and to run from several services at once.

    Args:
        conn_or_pool: an asyncpg connection or pool.
    """
    if isinstance(conn_or_pool, asyncpg.Pool):
        async with conn_or_pool.acquire() as conn:
            await apply_schema(conn)
        return
    async with conn_or_pool.transaction():
        await conn_or_pool.execute("SELECT pg_advisory_xact_lock($1)", _SCHEMA_LOCK)
        await conn_or_pool.execute(_SCHEMA.read_text(encoding="utf-8"))


def without_password(dsn: str) -> str:
    """The address for messages and logs."""
    parts = urlsplit(dsn)
    if not parts.password:
        return dsn
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


async def _set_codecs(conn: Any) -> None:
    for kind in ("json", "jsonb"):
        await conn.set_type_codec(kind, schema="pg_catalog", encoder=_to_json, decoder=msgspec.json.decode)


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
