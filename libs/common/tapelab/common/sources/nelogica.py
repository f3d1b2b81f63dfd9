"""Nelogica trade files: the WINFUT layout and Profit's Times & Trades export.

WINFUT: ``<ticker>,<date>,<time>,<trade_number>,<price>,<qty>,<vol>,<buy_agent>,<sell_agent>,<trade_type>,<aft>``
with or without the angle brackets, or with no header at all; trade types as ProfitDLL names, Portuguese
words or numbers. Times & Trades: ``ATIVO;DATA;HORARIO;Corretora Compradora;Valor da Negociação;...`` with
pt-BR numbers, brokers as ``147 - NAME``, newest first, padded with rows of separators.

Times are local (America/Sao_Paulo) and often whole seconds. Prints of equal time keep their time and the
order of the file (the reverse of it in a newest-first file); nothing is invented to tell them apart.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tapelab.common.sources.csv_table import (
    Dialect,
    as_utf8,
    categories,
    floats,
    integers,
    mapped,
    read_rows,
)
from tapelab.common.sources.files import Member
from tapelab.common.sources.local_time import DAY_NS, day_number, to_utc_ns
from tapelab.common.sources.merge import Block
from tapelab.common.sources.rejects import Rejects, RowCheck
from tapelab.common.sources.trade_types import agent_id, of_trade_type, plain, trade_type_code
from tapelab.quant.ticks import Ticks

NAME: Final = "nelogica"
ZONE: Final = "America/Sao_Paulo"
COLUMNS: Final = (
    "ticker", "date", "time", "trade_number", "price", "qty", "vol", "buy_agent", "sell_agent", "trade_type", "aft",
)  # fmt: skip
REQUIRED: Final = ("ticker", "date", "time", "price", "qty")

_ALIASES: Final = {
    "ticker": "ticker", "ativo": "ticker", "symbol": "ticker", "date": "date", "data": "date",
    "time": "time", "hora": "time", "horario": "time",
    "tradenumber": "trade_number", "numero": "trade_number", "numerodonegocio": "trade_number",
    "price": "price", "preco": "price", "valordanegociacao": "price", "valor": "price",
    "qty": "qty", "quantity": "qty", "quantidade": "qty", "qtdlts": "qty", "qdlts": "qty", "qtd": "qty",
    "vol": "vol", "volume": "vol", "buyagent": "buy_agent", "corretoracompradora": "buy_agent",
    "compradora": "buy_agent", "sellagent": "sell_agent", "corretoravendedora": "sell_agent",
    "vendedora": "sell_agent", "tradetype": "trade_type", "tipo": "trade_type", "agressor": "trade_type", "aft": "aft",
}  # fmt: skip
_TICKER: Final = re.compile(r"[A-Z0-9]{3,20}")
_DATES: Final = (
    (re.compile(r"(\d{4})-?(\d{2})-?(\d{2})"), (1, 2, 3)),
    (re.compile(r"(\d{2})[/-](\d{2})[/-](\d{4})"), (3, 2, 1)),
)
_SECOND_NS: Final = 1_000_000_000


class NelogicaLayout:
    """Columns and dialect of one file."""

    exchange = "B3"
    only_symbol = None

    def __init__(self, columns: tuple[str, ...], dialect: Dialect, header_lines: int) -> None:
        self.columns = columns
        self.dialect = dialect
        self.header_lines = header_lines

    def parse(self, raw: bytes, *, first_line: int, label: str, rejects: Rejects) -> Block:
        """Rows of a block, in file order."""
        rows = read_rows(raw, self.columns, self.dialect, first_line=first_line, label=label, rejects=rejects)
        check = RowCheck(rows.lines)
        n = len(rows.lines)
        tickers, codes = categories(rows.columns["ticker"], lambda text: text.strip().upper())
        known = np.array([_TICKER.fullmatch(ticker) is not None for ticker in tickers], np.bool_)
        check.require(known[codes], "no ticker", rows.text("ticker"))
        days = mapped(rows.columns["date"], _day)
        check.require(days >= 0, "no date YYYYMMDD or DD/MM/YYYY", rows.text("date"))
        of_day, good = _time_of_day(rows.columns["time"])
        check.require(good, "no time HHMMSS", rows.text("time"))
        price, good = floats(rows.columns["price"], self.dialect)
        check.require(good & (price > 0), "no positive price", rows.text("price"))
        volume, good = floats(rows.columns["qty"], self.dialect)
        check.require(good & (volume > 0), "no positive quantity", rows.text("qty"))
        trade_type = np.zeros(n, np.int64)
        if "trade_type" in self.columns:
            trade_type = mapped(rows.columns["trade_type"], trade_type_code)
            check.require(trade_type >= 0, "no trade type", rows.text("trade_type"))
        trade_id = np.full(n, -1, np.int64)
        if "trade_number" in self.columns:
            trade_id = integers(rows.columns["trade_number"])[0]
        agents = [
            mapped(rows.columns[name], agent_id).astype(np.int32) if name in self.columns else np.zeros(n, np.int32)
            for name in ("buy_agent", "sell_agent")
        ]
        check.report(label, rejects)
        ok = check.ok
        types = trade_type[ok].astype(np.uint8)
        aggressor, source, flags = of_trade_type(types)
        ticks = Ticks(
            ts_event_ns=to_utc_ns((days * DAY_NS + of_day)[ok], ZONE),
            price=price[ok],
            volume=volume[ok],
            aggressor=aggressor,
            aggressor_source=source,
            trade_type=types,
            flags=flags,
            buy_agent=agents[0][ok],
            sell_agent=agents[1][ok],
            trade_id=trade_id[ok],
        )
        return Block(tickers, codes[ok], ticks)


def recognise(member: Member, head: bytes, symbol: str | None) -> NelogicaLayout | None:
    """The layout of a file that looks like Nelogica's by its first line; the symbol comes from its rows."""
    del member, symbol
    text = as_utf8(head).decode().removeprefix("\ufeff")
    first, _, rest = text.partition("\n")
    delimiter = max(";,\t", key=first.count)
    cells = [cell.strip().strip('"') for cell in first.strip("\r").rstrip(";").split(delimiter)]
    padding = first.strip("\r").count(delimiter) + 1 - len(cells)
    names = [_ALIASES.get(plain(cell), "") for cell in cells]
    body = rest
    header_lines = 1
    if not all(name in names for name in REQUIRED):
        if len(cells) != len(COLUMNS) or _day(cells[1]) < 0 or not re.fullmatch(r"\d{5,9}", cells[2]):
            return None
        names, header_lines, body = list(COLUMNS), 0, text
    columns = tuple(name or f"column_{i}" for i, name in enumerate(names))
    columns += tuple(f"padding_{i}" for i in range(max(0, padding)))
    dialect = Dialect(delimiter, quoted='"' in text, comma_decimals=False)
    return NelogicaLayout(
        columns, dialect._replace(comma_decimals=_comma_decimals(body, columns, dialect)), header_lines
    )


def _comma_decimals(body: str, columns: tuple[str, ...], dialect: Dialect) -> bool:
    """Whether prices are written ``5.159,50``.

    A comma in any price says so; so does, in a ``;`` file, a dot that always has three digits after it
    (``128.450`` points), as no pt-BR export writes a decimal dot.
    """
    rows = read_rows(body.encode(), columns, dialect, first_line=1, label="", rejects=Rejects(None))
    prices = [text.strip() for text in rows.columns["price"].to_pylist()]
    if any("," in price for price in prices):
        return True
    dotted = [price for price in prices if "." in price]
    return dialect.delimiter == ";" and bool(dotted) and all(re.fullmatch(r"\d{1,3}(\.\d{3})+", p) for p in dotted)


def _day(text: str) -> int:
    for pattern, (year, month, day) in _DATES:
        match = pattern.fullmatch(text.strip())
        if match:
            try:
                return day_number(date(int(match.group(year)), int(match.group(month)), int(match.group(day))))
            except ValueError:
                return -1
    return -1


def _time_of_day(column: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """HHMMSS, HHMMSSmmm, HH:MM:SS and HH:MM:SS.f as nanoseconds since midnight; leading zeros may be missing."""
    digits = pc.replace_substring(pc.utf8_trim_whitespace(column), ":", "")
    digits = pc.replace_substring(digits, ",", ".")
    matches = pc.match_substring_regex(digits, r"^\d{1,9}(\.\d{1,9})?$").to_numpy(zero_copy_only=False)
    if not matches.all():
        digits = pc.if_else(pa.array(matches), digits, pa.scalar("0", pa.string()))
    value = pc.cast(digits, pa.float64()).to_numpy(zero_copy_only=False)
    # Longer than HHMMSS without a point means that milliseconds follow directly.
    value = np.where(value > 235_960, value / 1000, value)
    whole = np.floor(value)
    clock = whole.astype(np.int64)
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    good = matches & (hour < 24) & (minute < 60) & (second < 60)
    fraction = np.rint((value - whole) * 1e6).astype(np.int64) * 1_000
    return ((hour * 60 + minute) * 60 + second) * _SECOND_NS + fraction, good
