"""The PostgreSQL table ``ticks_raw`` as a source: what is in it, or that and every new row, live.

A collector's table needs the columns symbol, price, volume, timestamp, buy_agent, sell_agent, exchange and
trade_type. Rows are read in the order of an ``id`` column (any integer that grows with each insert), or else
of ``timestamp`` and, within equal times, of their place in the table. With an ``id`` column a row is missed only
if it becomes visible after one with a higher id (several writers at once). Without one, the last
``lookback_s`` of the table are read again at each look, so a row that comes late by less than that is taken
when it comes, behind those that were there before it.

In tapelab's own table, rows of a collector are those without a stream; rows that the tick sink wrote have one
and are never read back here (see ``pg_binary.read_span`` for those).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import asyncpg
import numpy as np

from tapelab.common.clock import Clock
from tapelab.common.errors import SourceError
from tapelab.common.pipeline import tick_lineage
from tapelab.common.sources.protocol import Summary, TapeChunk
from tapelab.common.sources.rejects import Rejects, RowCheck
from tapelab.common.sources.tick_rule import TickRule
from tapelab.common.sources.trade_types import agent_id, of_trade_type
from tapelab.quant.ticks import Ticks

NAME: Final = "ticks_raw"
REQUIRED: Final = ("symbol", "price", "volume", "timestamp", "buy_agent", "sell_agent", "exchange", "trade_type")
_INTEGERS: Final = ("smallint", "integer", "bigint")


class RowBatch(NamedTuple):
    """Newly read rows by symbol; ``caught_up`` is true when nothing more was in the table."""

    chunks: tuple[TapeChunk, ...]
    caught_up: bool


class _Shape(NamedTuple):
    has_id: bool
    has_stream: bool
    naive_time: bool


class TicksRaw:
    """Reads a table in order, and goes on with what is inserted.

    Args:
        dsn: the database; the table may be tapelab's own or a collector's.
        table: its name, with a schema if need be.
        zone: time zone of ``timestamp`` where the column has none.
        since_ns: leave out rows before this time (event time, ns); 0 reads all.
        rejects_path: where rows that cannot be used are listed, with the count of rows read as line.
        batch_rows: rows per query.
        lookback_s: how late a row of a table without ``id`` may come.
    """

    def __init__(
        self,
        dsn: str,
        *,
        table: str = "ticks_raw",
        zone: str = "UTC",
        since_ns: int = 0,
        rejects_path: Path | None = None,
        batch_rows: int = 20_000,
        lookback_s: float = 2.0,
    ) -> None:
        self.name = f"table {table}"
        self.lineage = tick_lineage(NAME, "1")
        self._dsn = dsn
        self._table = ".".join(f'"{part}"' for part in table.replace('"', "").split("."))
        self._zone = zone
        self._since_ns = since_ns
        self._rejects = Rejects(rejects_path)
        self._batch_rows = batch_rows
        self._lookback = timedelta(seconds=lookback_s)
        self._read = 0
        self._rows: dict[str, int] = {}
        self._rule = TickRule()
        self._codes: dict[str, int] = {}

    def summary(self) -> Summary:
        """Counts so far."""
        self._rejects.flush()
        path = self._rejects.path if self._rejects.count else None
        return Summary(sum(self._rows.values()), self._rejects.count, path, dict(self._rows), self._rejects.first)

    async def batches(self, clock: Clock, *, poll_s: float | None) -> AsyncGenerator[RowBatch, None]:
        """Rows in order.

        Args:
            clock: for waiting between two looks at the table.
            poll_s: time between them; None ends at the end of the table.

        Raises:
            SourceError: no database, no such table, columns are missing, or the connection is lost.
        """
        try:
            conn = await asyncpg.connect(self._dsn, timeout=10)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            raise self._error("cannot connect to the database of ticks_raw", error) from error
        try:
            query, has_id = self._query(await self._shape(conn))
            at: Any = None
            seen: set[Any] = set()  # places of the rows that the next query will return again
            while True:
                since = at if has_id or at is None else at - self._lookback
                rows = await conn.fetch(query, since, self._batch_rows + len(seen))
                fresh = [row for row in rows if row["place"] not in seen] if seen else rows
                caught_up = len(fresh) < self._batch_rows
                if fresh:
                    at = rows[-1]["at"]
                    if not has_id and at is not None:
                        seen = {row["place"] for row in rows if row["at"] >= at - self._lookback}
                yield RowBatch(self._chunks(fresh), caught_up)
                if caught_up:
                    if poll_s is None:
                        return
                    await clock.sleep(poll_s)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise self._error(f"cannot read {self._table}", error) from error
        finally:
            self._rejects.close()
            await conn.close(timeout=5)

    def _error(self, summary: str, error: BaseException) -> SourceError:
        return SourceError(
            summary,
            expected="a database that answers",
            actual=f"{type(error).__name__}: {error}",
            remedy="check the DSN and that the database is up",
        )

    async def _shape(self, conn: Any) -> _Shape:
        found = await conn.fetch(
            "SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute "
            "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
            self._table,
        )
        types = {row["name"]: row["type"] for row in found}
        missing = [name for name in REQUIRED if name not in types]
        if missing:
            raise SourceError(
                f"{self._table} cannot be followed",
                expected=f"a table with the columns {', '.join(REQUIRED)}",
                actual=f"columns {', '.join(types)} without {', '.join(missing)}" if types else "no such table",
                remedy="create the table, or name another one",
            )
        try:
            ZoneInfo(self._zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise SourceError(
                "unknown time zone", expected="an IANA name", actual=self._zone, remedy="correct the setting"
            ) from error
        return _Shape(
            has_id=types.get("id") in _INTEGERS,
            has_stream="stream" in types,
            naive_time=types["timestamp"] == "timestamp without time zone",
        )

    def _query(self, shape: _Shape) -> tuple[str, bool]:
        time = f"(\"timestamp\" AT TIME ZONE '{self._zone}')" if shape.naive_time else '"timestamp"'
        where = ["stream IS NULL"] if shape.has_stream else []
        if self._since_ns:
            where.append(f"{time} >= to_timestamp({self._since_ns / 1e9!r})")
        if shape.has_id:
            where.append("($1::bigint IS NULL OR id > $1)")
        else:
            kind = "timestamp" if shape.naive_time else "timestamptz"
            where.append(f'($1::{kind} IS NULL OR "timestamp" >= $1)')
        order = "id" if shape.has_id else '"timestamp", ctid'
        position = "id" if shape.has_id else '"timestamp"'
        return (
            f"SELECT {position} AS at, ctid AS place, symbol, price::float8, volume::float8, "
            f"(extract(epoch FROM {time}) * 1000000)::bigint AS us, "
            "buy_agent, sell_agent, exchange, trade_type "
            f"FROM {self._table} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT $2"
        ), shape.has_id

    def _chunks(self, rows: Sequence[Any]) -> tuple[TapeChunk, ...]:
        if not rows:
            return ()
        n = len(rows)
        _, _, symbols, prices, volumes, times, buyers, sellers, exchanges, types = zip(*rows, strict=True)
        lines = np.arange(self._read + 1, self._read + n + 1, dtype=np.int64)
        self._read += n
        price, volume = np.array(prices, np.float64), np.array(volumes, np.float64)
        check = RowCheck(lines)
        named = np.array([bool(symbol) for symbol in symbols], np.bool_)
        timed = np.array([time is not None for time in times], np.bool_)
        check.require(named & timed, "no symbol or no time")
        check.require(np.isfinite(price) & (price > 0), "no positive price", prices)
        check.require(np.isfinite(volume) & (volume > 0), "no positive volume", volumes)
        kinds = np.array([0 if t is None else int(t) for t in types], np.int64)
        check.require((kinds >= 0) & (kinds <= 255), "no trade type", types)
        check.report(self._table, self._rejects)
        trade_type = np.where(check.ok, kinds, 0).astype(np.uint8)
        aggressor, source, flags = of_trade_type(trade_type)
        codes = np.array([self._codes.setdefault(s or "", len(self._codes)) for s in symbols], np.int32)
        ticks = Ticks(
            ts_event_ns=np.array([0 if t is None else t for t in times], np.int64) * 1_000,
            price=price,
            volume=volume,
            aggressor=aggressor,
            aggressor_source=source,
            trade_type=trade_type,
            flags=flags,
            buy_agent=np.array([_agent(a) for a in buyers], np.int32),
            sell_agent=np.array([_agent(a) for a in sellers], np.int32),
            trade_id=np.full(n, -1, np.int64),
        )
        ticks, codes = ticks.take(check.ok), codes[check.ok]
        ticks = self._rule.apply(ticks, codes, len(self._codes))
        chunks = []
        for symbol, code in self._codes.items():
            mine = codes == code
            if mine.any():
                where = exchanges[int(np.flatnonzero(check.ok)[int(np.argmax(mine))])]
                chunks.append(TapeChunk(symbol, where or "", ticks.take(mine)))
                self._rows[symbol] = self._rows.get(symbol, 0) + int(mine.sum())
        return tuple(chunks)


@lru_cache(maxsize=4096)
def _agent(value: int | str | None) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value if -(2**31) <= value < 2**31 else 0
    return agent_id(value)
