"""Binance public dumps: futures and spot ``trades`` and ``aggTrades``, with or without header.

``is_buyer_maker`` true means that the seller crossed the spread. Times are milliseconds, from 2025-01-01
on microseconds for spot; each row is told by its size. The symbol comes from the file's name
(``BTCUSDT-trades-2024-01-01.csv``).

Known bad data: futures ``trades`` dumps from 2026-07-01 on carry ``is_buyer_maker=true`` in every row
(binance-public-data issues 476 and 492). Where such a file's first rows are all true, the column is not
believed and the tick rule supplies the aggressor.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from tapelab.common.sources.csv_table import Dialect, floats, integers, mapped, read_rows
from tapelab.common.sources.files import Member
from tapelab.common.sources.merge import Block
from tapelab.common.sources.rejects import Rejects, RowCheck
from tapelab.quant.dtypes import AggressorSource
from tapelab.quant.ticks import Ticks

NAME: Final = "binance"
EXCHANGE: Final = "BINANCE"

_FUTURES_TRADES: Final = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker")
_FUTURES_AGG: Final = ("id", "price", "qty", "first_id", "last_id", "time", "is_buyer_maker")
#: Columns by their number and by which of them holds true or false.
_LAYOUTS: Final[dict[tuple[int, int], tuple[str, ...]]] = {
    (6, 5): _FUTURES_TRADES,
    (7, 5): (*_FUTURES_TRADES, "is_best_match"),
    (7, 6): _FUTURES_AGG,
    (8, 6): (*_FUTURES_AGG, "is_best_match"),
}
_FILE: Final = re.compile(r"([A-Z0-9_]{3,30})-(?:trades|aggTrades)\b.*", re.IGNORECASE)
_HEADERS: Final = (b"id,", b"agg_trade_id,", b"trade id,", b"trade_id,")
_BOOLEANS: Final = {"true": 1, "false": 0}
_US_FROM: Final = 100_000_000_000_000
_ALL_TRUE_SINCE_NS: Final = 1_782_864_000_000_000_000  # 2026-07-01 UTC
_ALL_TRUE_ROWS: Final = 100


class BinanceLayout:
    """One dump file."""

    exchange = EXCHANGE

    def __init__(self, symbol: str, columns: tuple[str, ...], header_lines: int) -> None:
        self.only_symbol = symbol
        self.columns = columns
        self.header_lines = header_lines
        self.believe_maker = True

    def parse(self, raw: bytes, *, first_line: int, label: str, rejects: Rejects) -> Block:
        """Rows of a block, in file order."""
        dialect = Dialect(",")
        rows = read_rows(raw, self.columns, dialect, first_line=first_line, label=label, rejects=rejects)
        check = RowCheck(rows.lines)
        trade_id, good = integers(rows.columns["id"])
        check.require(good & (trade_id >= 0), "no id", rows.text("id"))
        price, good = floats(rows.columns["price"], dialect)
        check.require(good & (price > 0), "no positive price", rows.text("price"))
        volume, good = floats(rows.columns["qty"], dialect)
        check.require(good & (volume > 0), "no positive quantity", rows.text("qty"))
        time, good = integers(rows.columns["time"])
        check.require(good & (time > 10**11) & (time < 10**17), "no time in ms or us", rows.text("time"))
        maker = mapped(rows.columns["is_buyer_maker"], lambda text: _BOOLEANS.get(text.strip().lower(), -1))
        check.require(maker >= 0, "is_buyer_maker is neither true nor false", rows.text("is_buyer_maker"))
        check.report(label, rejects)
        ok = check.ok
        n = int(ok.sum())
        side = np.where(maker[ok] == 1, -1, 1).astype(np.int8)
        ticks = Ticks(
            ts_event_ns=np.where(time[ok] >= _US_FROM, time[ok] * 1_000, time[ok] * 1_000_000),
            price=price[ok],
            volume=volume[ok],
            aggressor=side if self.believe_maker else np.zeros(n, np.int8),
            aggressor_source=np.full(n, AggressorSource.VENUE if self.believe_maker else 0, np.uint8),
            trade_type=np.zeros(n, np.uint8),
            flags=np.zeros(n, np.uint16),
            buy_agent=np.zeros(n, np.int32),
            sell_agent=np.zeros(n, np.int32),
            trade_id=trade_id[ok],
        )
        return Block.of_one(self.only_symbol, ticks)


def recognise(member: Member, head: bytes, symbol: str | None) -> BinanceLayout | None:
    """The layout of a file whose rows look like one of the dumps and whose symbol is known."""
    named = _FILE.fullmatch(member.name) or _FILE.fullmatch(member.path.name)
    header_lines = int(head.lower().startswith(_HEADERS))
    lines = head.split(b"\n", header_lines + 1)
    if len(lines) <= header_lines or (named is None and symbol is None):
        return None
    cells = lines[header_lines].decode("ascii", errors="replace").strip().split(",")
    booleans = [i for i, cell in enumerate(cells) if cell.strip().lower() in _BOOLEANS]
    columns = _LAYOUTS.get((len(cells), booleans[0])) if booleans else None
    if columns is None:
        return None
    layout = BinanceLayout(symbol or (named.group(1).upper() if named else ""), columns, header_lines)
    if columns == _FUTURES_TRADES:
        body = head.split(b"\n", header_lines)[-1] if header_lines else head
        first = layout.parse(body, first_line=1, label="", rejects=Rejects(None)).ticks
        recent = first.n >= _ALL_TRUE_ROWS and int(first.ts_event_ns[0]) >= _ALL_TRUE_SINCE_NS
        layout.believe_maker = not (recent and bool((first.aggressor == -1).all()))
    return layout
