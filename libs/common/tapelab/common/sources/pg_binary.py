"""PostgreSQL's binary COPY format for ``ticks_raw``, built and read as numpy records without a loop over rows.

Source: PostgreSQL documentation, COPY, "Binary Format": a header, per row the number of fields and each
field's length and big-endian bytes, and a trailer.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.common.errors import SourceError
from tapelab.quant.dtypes import TICK_COLUMNS
from tapelab.quant.ticks import Ticks

#: Columns of ``ticks_raw`` in the order in which :func:`encode_rows` writes them.
COLUMNS: Final = (
    "symbol", "price", "volume", "timestamp", "buy_agent", "sell_agent", "exchange", "trade_type", "stream", "seq",
    "ts_event_ns", "aggressor", "aggressor_source", "flags", "trade_id",
)  # fmt: skip

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
_EPOCH_US: Final = 946_684_800_000_000  # PostgreSQL counts microseconds from 2000-01-01

_TYPES: Final[dict[str, str]] = {
    "price": ">f8", "volume": ">f8", "timestamp": ">i8", "buy_agent": ">i4", "sell_agent": ">i4", "trade_type": ">i2",
    "stream": ">i8", "seq": ">i8", "ts_event_ns": ">i8", "aggressor": ">i2", "aggressor_source": ">i2",
    "flags": ">i4", "trade_id": ">i8",
}  # fmt: skip

#: Types under which :func:`decode_rows` expects the tick columns, in their wire order.
_READ_TYPES: Final = tuple(_TYPES[name] for name, _ in TICK_COLUMNS)


@lru_cache(maxsize=256)
def _row_dtype(symbol_bytes: int, exchange_bytes: int) -> np.dtype[Any]:
    fields: list[tuple[str, str]] = [("_fields", ">i2")]
    for name in COLUMNS:
        text = {"symbol": symbol_bytes, "exchange": exchange_bytes}.get(name)
        fields += [(f"_{name}", ">i4"), (name, f"V{text}" if text is not None else _TYPES[name])]
    return np.dtype(fields)


def encode_rows(ticks: Ticks, *, symbol: str, exchange: str, stream: int, first_seq: int) -> bytes:
    """Rows of ``ticks_raw`` without header and trailer; ``timestamp`` is the event time cut to microseconds."""
    texts = {"symbol": symbol.encode(), "exchange": exchange.encode()}
    rows = np.empty(ticks.n, _row_dtype(len(texts["symbol"]), len(texts["exchange"])))
    rows["_fields"] = len(COLUMNS)
    values: dict[str, Any] = {
        **ticks._asdict(),
        "timestamp": ticks.ts_event_ns // 1_000 - _EPOCH_US,
        "stream": stream,
        "seq": np.arange(first_seq, first_seq + ticks.n, dtype=np.int64),
    }
    for name in COLUMNS:
        text = texts.get(name)
        rows[f"_{name}"] = rows.dtype[name].itemsize
        rows[name] = np.void(text) if text is not None else values[name]
    return rows.tobytes()


def select_span() -> str:
    """The query whose binary COPY :func:`decode_rows` reads; parameters: symbol, stream, first and last seq."""
    columns = ", ".join(name for name, _ in TICK_COLUMNS)
    return f"SELECT {columns} FROM ticks_raw WHERE symbol = $1 AND stream = $2 AND seq BETWEEN $3 AND $4 ORDER BY seq"


def decode_rows(raw: bytes) -> Ticks:
    """Prints of a binary COPY of :func:`select_span`, header and trailer included.

    Raises:
        SourceError: a column holds NULL or has another type, so that rows are not of one width.
    """
    fields: list[tuple[str, str]] = [("_fields", ">i2")]
    for (name, _), kind in zip(TICK_COLUMNS, _READ_TYPES, strict=True):
        fields += [(f"_{name}", ">i4"), (name, kind)]
    dtype = np.dtype(fields)
    body = raw[len(HEADER) : -len(TRAILER)]
    whole = len(body) % dtype.itemsize == 0
    rows: npt.NDArray[np.void] = np.frombuffer(body, dtype) if whole else np.empty(0, dtype)
    sound = whole and all(bool((rows[f"_{name}"] == dtype[name].itemsize).all()) for name, _ in TICK_COLUMNS)
    if not sound:
        raise SourceError(
            "ticks_raw holds rows that the tick sink did not write",
            expected="no NULL in the columns of a stream's prints",
            actual="a NULL or another column type",
            remedy="restore the rows of this stream, or ingest the tape again as a new stream",
        )
    return Ticks(*(np.ascontiguousarray(rows[name], dtype=dtype_) for name, dtype_ in TICK_COLUMNS))


async def read_span(conn: Any, symbol: str, stream: int, first_seq: int, last_seq: int) -> Ticks:
    """Prints ``first_seq .. last_seq`` (both included) of a stream, as the tick sink wrote them.

    Args:
        conn: an asyncpg connection.

    Raises:
        SourceError: prints are missing.
    """
    parts: list[bytes] = []

    async def collect(data: bytes) -> None:
        parts.append(data)

    await conn.copy_from_query(select_span(), symbol, stream, first_seq, last_seq, output=collect, format="binary")
    # Half a million rows take a tenth of a second, which the caller's heartbeats do not wait for.
    ticks = await asyncio.to_thread(lambda: decode_rows(b"".join(parts)))
    if ticks.n != last_seq - first_seq + 1:
        raise SourceError(
            f"prints of {symbol} stream {stream} are missing in ticks_raw",
            expected=f"{last_seq - first_seq + 1} rows from seq {first_seq} to {last_seq}",
            actual=f"{ticks.n} rows",
            remedy="see the tick sink's log for a hole; ingest the tape again as a new stream",
        )
    return ticks
