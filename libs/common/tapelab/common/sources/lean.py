"""QuantConnect LEAN trade ticks: zips of headerless CSV, one per day.

Row: milliseconds since midnight New York, price (equities: times 10000), shares, exchange, sale condition
(hexadecimal flags), suspicious (0/1). Day and symbol come from the file's name
(``20131007_ibm_Trade_Tick.csv``; ``20131007_gc_tick_trade_201312.csv`` is the future GCZ13).

There is no aggressor: the tick rule supplies it. Suspicious rows and rows of zero size (COMEX) are flagged
SUSPICIOUS, official opens and closes and the opening, reopening and closing prints AUCTION, crossing
sessions CROSS, odd lots ODD_LOT; all are kept.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from tapelab.common.sources.csv_table import Dialect, floats, integers, mapped, read_rows
from tapelab.common.sources.files import Member
from tapelab.common.sources.local_time import DAY_NS, day_number, to_utc_ns
from tapelab.common.sources.merge import Block
from tapelab.common.sources.rejects import Rejects, RowCheck
from tapelab.quant.dtypes import TickFlag
from tapelab.quant.ticks import Ticks

NAME: Final = "lean"
ZONE: Final = "America/New_York"
COLUMNS: Final = ("ms", "price", "size", "venue", "condition", "suspicious")
EQUITY_SCALE: Final = 10_000.0

_EQUITY: Final = re.compile(r"(\d{8})_([a-z0-9.]+)_trade_tick\.csv", re.IGNORECASE)
_FUTURE: Final = re.compile(r"(\d{8})_([a-z0-9]+)_tick_trade_(\d{4})(\d{2})\.csv", re.IGNORECASE)
_DAY_FILE: Final = re.compile(r"(\d{8})_trade(\.csv|\.zip)?", re.IGNORECASE)
_FIRST_ROW: Final = re.compile(rb"\d{1,8},[\d.]+,\d+(\.\d+)?,[^,]*,[0-9A-Fa-f]*,[01]\s*(\n|$)")
_MONTHS: Final = "FGHJKMNQUVXZ"

# Bits of LEAN's TradeConditionFlags.
_AUCTION_BITS: Final = (1 << 6) | (1 << 7) | (1 << 8) | (1 << 24) | (1 << 26)
_CROSS_BIT: Final = 1 << 21
_ODD_LOT_BIT: Final = 1 << 31


class LeanLayout:
    """One day of one symbol."""

    header_lines = 0

    def __init__(self, symbol: str, exchange: str, day: date, scale: float) -> None:
        self.only_symbol = symbol
        self.exchange = exchange
        self.day_ns = day_number(day) * DAY_NS
        self.scale = scale

    def parse(self, raw: bytes, *, first_line: int, label: str, rejects: Rejects) -> Block:
        """Rows of a block, in file order."""
        dialect = Dialect(",")
        rows = read_rows(raw, COLUMNS, dialect, first_line=first_line, label=label, rejects=rejects)
        check = RowCheck(rows.lines)
        ms, good = integers(rows.columns["ms"])
        check.require(good & (ms >= 0) & (ms < DAY_NS // 1_000_000), "no milliseconds of a day", rows.text("ms"))
        price, good = floats(rows.columns["price"], dialect)
        check.require(good & (price > 0), "no positive price", rows.text("price"))
        volume, good = floats(rows.columns["size"], dialect)
        check.require(good & (volume >= 0), "no size", rows.text("size"))
        condition = mapped(rows.columns["condition"], _hexadecimal)
        check.require(condition >= 0, "no hexadecimal condition", rows.text("condition"))
        suspicious = mapped(rows.columns["suspicious"], lambda text: {"0": 0, "1": 1}.get(text.strip(), -1))
        check.require(suspicious >= 0, "suspicious is neither 0 nor 1", rows.text("suspicious"))
        check.report(label, rejects)
        ok = check.ok
        n = int(ok.sum())
        ticks = Ticks(
            ts_event_ns=to_utc_ns(self.day_ns + ms[ok] * 1_000_000, ZONE),
            price=price[ok] / self.scale,
            volume=volume[ok],
            aggressor=np.zeros(n, np.int8),
            aggressor_source=np.zeros(n, np.uint8),
            trade_type=np.zeros(n, np.uint8),
            flags=_flags(condition[ok], (suspicious[ok] == 1) | (volume[ok] == 0)),
            buy_agent=np.zeros(n, np.int32),
            sell_agent=np.zeros(n, np.int32),
            trade_id=np.full(n, -1, np.int64),
        )
        return Block.of_one(self.only_symbol, ticks)


def _hexadecimal(text: str) -> int:
    if not text.strip():
        return 0
    try:
        return int(text, 16)
    except ValueError:
        return -1


def _flags(condition: npt.NDArray[np.int64], suspicious: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint16]:
    flags = np.zeros(len(condition), np.uint16)
    for where, flag in (
        ((condition & _AUCTION_BITS) != 0, TickFlag.AUCTION),
        ((condition & _CROSS_BIT) != 0, TickFlag.CROSS),
        ((condition & _ODD_LOT_BIT) != 0, TickFlag.ODD_LOT),
        (suspicious, TickFlag.SUSPICIOUS),
    ):
        flags[where] |= np.uint16(flag)
    return flags


def is_quotes(member: Member) -> bool:
    """Whether the file belongs to a LEAN folder but holds quotes, which are no part of a tape."""
    return "_quote" in member.path.name.lower() or "_quote" in member.inner.lower()


def recognise(member: Member, head: bytes, symbol: str | None) -> LeanLayout | None:
    """The layout of a file whose name carries a day and whose first row has LEAN's six columns."""
    if not _FIRST_ROW.match(head):
        return None
    equity, future = _EQUITY.fullmatch(member.name), _FUTURE.fullmatch(member.name)
    if future:
        root, year, month = future.group(2).upper(), future.group(3), int(future.group(4))
        name = f"{root}{_MONTHS[month - 1]}{year[2:]}"
        return _layout(symbol or name, "COMEX", future.group(1), 1.0)
    if equity:
        return _layout(symbol or equity.group(2).upper(), "US", equity.group(1), EQUITY_SCALE)
    day_file = _DAY_FILE.fullmatch(member.name) or _DAY_FILE.fullmatch(member.path.name)
    if day_file:
        return _layout(symbol or member.path.resolve().parent.name.upper(), "US", day_file.group(1), EQUITY_SCALE)
    return None


def _layout(symbol: str, exchange: str, day: str, scale: float) -> LeanLayout | None:
    try:
        return LeanLayout(symbol, exchange, date(int(day[:4]), int(day[4:6]), int(day[6:])), scale)
    except ValueError:
        return None
