"""``md.ticks.v1``: trade prints of one symbol as little-endian columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np

from tapelab.common.errors import PoisonRecord
from tapelab.quant.dtypes import TICK_COLUMNS
from tapelab.quant.ticks import Ticks

_COLUMNS: Final = tuple((name, np.dtype(dtype)) for name, dtype in TICK_COLUMNS)
_SIZES: Final = tuple(dtype.itemsize for _, dtype in _COLUMNS)
_bytes_of: Final[Callable[[Any], tuple[bytes, ...]]] = attrgetter(*(name for name, _ in _COLUMNS))


class TickBatch(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """n consecutive prints of one symbol and stream.

    ``first_seq`` is the sequence number of the first print; the batch covers
    ``first_seq .. first_seq + n - 1``. ``book_seq`` is the last book record published before it.
    A batch with ``n == 0`` and ``session_end_ns > 0`` says that the session which closes at that
    time has ended for the symbol; it takes no sequence number and ``first_seq`` is the next one.
    """

    symbol: str
    exchange: str
    stream: int
    lineage: str
    first_seq: int
    n: int
    ts_event_ns: bytes
    price: bytes
    volume: bytes
    aggressor: bytes
    aggressor_source: bytes
    trade_type: bytes
    flags: bytes
    buy_agent: bytes
    sell_agent: bytes
    trade_id: bytes
    book_seq: int = 0
    session_end_ns: int = 0

    @classmethod
    def pack(
        cls,
        ticks: Ticks,
        *,
        symbol: str,
        exchange: str,
        stream: int,
        lineage: str,
        first_seq: int,
        book_seq: int = 0,
        session_end_ns: int = 0,
    ) -> TickBatch:
        """A batch of the given columns."""
        columns = {
            name: np.ascontiguousarray(column, dtype=dtype).tobytes()
            for (name, dtype), column in zip(TICK_COLUMNS, ticks, strict=True)
        }
        return cls(
            symbol=symbol,
            exchange=exchange,
            stream=stream,
            lineage=lineage,
            first_seq=first_seq,
            n=ticks.n,
            book_seq=book_seq,
            session_end_ns=session_end_ns,
            **columns,
        )

    def check(self) -> None:
        """Make sure that the columns are as long as ``n`` says; :func:`joined` relies on it.

        Raises:
            PoisonRecord: one of them is not.
        """
        if [*map(len, _bytes_of(self))] == [self.n * size for size in _SIZES]:
            return
        for (name, _), size, raw in zip(_COLUMNS, _SIZES, _bytes_of(self), strict=True):
            if len(raw) != self.n * size:
                raise PoisonRecord(
                    f"tick batch of {self.symbol}: column {name} has the wrong length",
                    expected=f"{self.n * size} bytes for n={self.n}",
                    actual=f"{len(raw)} bytes",
                    remedy="fix the producer; the record went to the dead-letter topic",
                )

    def ticks(self) -> Ticks:
        """The columns as read-only numpy views of the record's bytes.

        Raises:
            PoisonRecord: a column's length disagrees with ``n``.
        """
        self.check()
        return joined([self])


def joined(batches: Sequence[TickBatch]) -> Ticks:
    """The prints of checked batches, in order, as read-only columns.

    Bytes are joined before they become arrays: making ten arrays of every batch costs more than its prints do.
    """
    columns = zip(*map(_bytes_of, batches), strict=True)
    return Ticks._make(
        np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), dtype)
        for parts, (_, dtype) in zip(columns, _COLUMNS, strict=True)
    )
