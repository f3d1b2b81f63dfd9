"""A chunk of one symbol's ticks as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant.dtypes import TICK_COLUMNS


class Ticks(NamedTuple):
    """Columns of n trade prints of one symbol, in tape order; every array has shape ``(n,)``.

    Args:
        ts_event_ns: event time, i64 ns UTC.
        price: f64, quote unit.
        volume: f64, lots.
        aggressor: i8, :class:`~tapelab.quant.dtypes.Aggressor`.
        aggressor_source: u8, :class:`~tapelab.quant.dtypes.AggressorSource`.
        trade_type: u8, :class:`~tapelab.quant.dtypes.TradeType`.
        flags: u16, :class:`~tapelab.quant.dtypes.TickFlag`.
        buy_agent: i32, 0 where unknown.
        sell_agent: i32, 0 where unknown.
        trade_id: i64, the venue's id, -1 where it has none.
    """

    ts_event_ns: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]
    aggressor: npt.NDArray[np.int8]
    aggressor_source: npt.NDArray[np.uint8]
    trade_type: npt.NDArray[np.uint8]
    flags: npt.NDArray[np.uint16]
    buy_agent: npt.NDArray[np.int32]
    sell_agent: npt.NDArray[np.int32]
    trade_id: npt.NDArray[np.int64]

    @property
    def n(self) -> int:
        """Number of prints."""
        return len(self.ts_event_ns)

    def slice(self, start: int, stop: int | None = None) -> Ticks:
        """Rows ``start:stop`` as views, without copying."""
        return Ticks._make(column[start:stop] for column in self)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Ticks:
        """The given rows (indices or mask), copied."""
        return Ticks._make(column[rows] for column in self)

    @staticmethod
    def empty() -> Ticks:
        """A chunk of no rows."""
        return Ticks._make(np.empty(0, dtype) for _, dtype in TICK_COLUMNS)

    @staticmethod
    def concatenate(chunks: Sequence[Ticks]) -> Ticks:
        """Chunks in order as one."""
        if not chunks:
            return Ticks.empty()
        if len(chunks) == 1:
            return chunks[0]
        return Ticks._make(np.concatenate(columns) for columns in zip(*chunks, strict=True))
