"""``md.bars.v1``: one closed event bar."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.quant.dtypes import BAR_DTYPE


class Bar(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One bar: who it belongs to, then the fields of ``BAR_DTYPE`` under the same names and units.

    ``spec`` is the bar specification (``tick:200``); ``seq`` is contiguous per symbol, stream and
    lineage; ``tick_lineage`` is the lineage of the prints it was built from. Fields with a default came later:
    in a record of before they are NaN, which means unknown.
    """

    symbol: str
    exchange: str
    spec: str
    stream: int
    lineage: str
    tick_lineage: str
    seq: int
    day: int
    flags: int
    session_open_ns: int
    session_close_ns: int
    ts_open_ns: int
    ts_close_ns: int
    first_tick_seq: int
    last_tick_seq: int
    book_seq: int
    n: int
    buy_n: int
    sell_n: int
    up_ticks: int
    down_ticks: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    dollar: float
    buy_volume: float
    sell_volume: float
    vwap: float
    dt_mean_s: float
    dt_var_s2: float
    realised_var: float
    buy_agent_hhi: float
    sell_agent_hhi: float
    ret_1s: float
    volume_1s: float
    signed_volume_1s: float
    n_1s: float
    rv_1s: float
    ret_5s: float
    volume_5s: float
    signed_volume_5s: float
    n_5s: float
    rv_5s: float
    ret_30s: float
    volume_30s: float
    signed_volume_30s: float
    n_30s: float
    rv_30s: float
    ret_5m: float
    volume_5m: float
    signed_volume_5m: float
    n_5m: float
    rv_5m: float
    rlp_volume: float = math.nan
    large_volume: float = math.nan
    large_signed_volume: float = math.nan
    buy_agent_top3_share: float = math.nan
    sell_agent_top3_share: float = math.nan
    agent_net_buy_top3: float = math.nan
    agent_net_sell_top3: float = math.nan
    utc_offset_s: float = math.nan

    @classmethod
    def from_row(
        cls, row: np.void, *, symbol: str, exchange: str, spec: str, stream: int, lineage: str, tick_lineage: str
    ) -> Bar:
        """The record of one row of a ``BAR_DTYPE`` array."""
        # By position, as array_like structs are converted: three times as fast as by name.
        return msgspec.convert((symbol, exchange, spec, stream, lineage, tick_lineage, *row.item()), cls)


def bars_of_rows(
    rows: npt.NDArray[np.void],
    *,
    symbol: str,
    exchange: str,
    spec: str,
    stream: int,
    lineage: str,
    tick_lineage: str,
) -> list[Bar]:
    """The records of a ``BAR_DTYPE`` array, in order."""
    head = (symbol, exchange, spec, stream, lineage, tick_lineage)
    # A structured row becomes a tuple field by field; most of them are floats side by side, and go as one array.
    numbers = np.ascontiguousarray(rows).view(np.float64).reshape(-1, _WORDS)[:, _FLOATS_AT:].tolist()
    return [
        msgspec.convert((*head, *whole, *floats), Bar)
        for whole, floats in zip(rows[_WHOLE].tolist(), numbers, strict=True)
    ]


_FIELDS: Final[tuple[str, ...]] = BAR_DTYPE.names or ()
#: The whole numbers come first; from there on all fields are float64.
_WHOLE: Final = [name for name in _FIELDS if BAR_DTYPE[name].kind in "iu"]
_WORDS: Final = BAR_DTYPE.itemsize // 8
_FLOATS_AT: Final = _WORDS - (len(_FIELDS) - len(_WHOLE))
_IDENTITY: Final = len(Bar.__struct_fields__) - len(_FIELDS)


_CODES: Final = {"<i8": "q", "<i4": "i", "<u4": "I", "<f8": "d"}
_ROW: Final = struct.Struct("<" + "".join(_CODES[BAR_DTYPE[name].str] for name in _FIELDS))


def row_of_bar(bar: Bar) -> bytes:
    """A bar as the bytes of a ``BAR_DTYPE`` row; its identity fields are left out.

    Raises:
        OverflowError: an integer does not fit its field.
    """
    try:
        return _ROW.pack(*msgspec.structs.astuple(bar)[_IDENTITY:])
    except struct.error as error:
        raise OverflowError(str(error)) from error


def array_of_rows(rows: Iterable[bytes]) -> npt.NDArray[np.void]:
    """Rows as one array, in order. Joined as bytes: numpy compares all fields of every two arrays that it joins."""
    return np.frombuffer(bytearray().join(rows), BAR_DTYPE)


def bars_to_array(bars: Sequence[Bar]) -> npt.NDArray[np.void]:
    """Bars as one ``BAR_DTYPE`` array, in order; their identity fields are left out."""
    return array_of_rows(map(row_of_bar, bars))
