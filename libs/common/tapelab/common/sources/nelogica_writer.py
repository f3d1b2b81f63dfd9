"""Writing a tape as the files that Nelogica's users have, traps included: for tests and demonstrations."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final, Literal
from zoneinfo import ZoneInfo

from tapelab.common.sources.nelogica import COLUMNS, ZONE
from tapelab.common.sources.protocol import Tape, TapeChunk
from tapelab.quant.dtypes import TradeType

TypeStyle = Literal["enum", "portuguese", "code"]

TIMES_AND_TRADES: Final = (
    "ATIVO;DATA;HORÁRIO;Corretora Compradora;Valor da Negociação;Qd Lts;Corretora Vendedora;Agressor"
)
_TYPES: Final[dict[int, tuple[str, str, str]]] = {
    # trade type: ProfitDLL name, Portuguese name, Times & Trades word
    TradeType.CROSS: ("CrossTrade", "Direto", "Direto"),
    TradeType.BUYER_AGGRESSOR: ("AggressorBuyer", "Compra Agressão", "Comprador"),
    TradeType.SELLER_AGGRESSOR: ("AggressorSeller", "Venda Agressão", "Vendedor"),
    TradeType.AUCTION: ("Auction", "Leilão", "Leilão"),
    TradeType.RLP: ("RLP", "RLP", "RLP"),
}


def write_nelogica(
    path: Path,
    tape: Tape,
    *,
    layout: Literal["winfut", "times_trades"] = "winfut",
    newest_first: bool = False,
    header: Literal["brackets", "names", "none"] = "brackets",
    types: TypeStyle = "enum",
    comma_decimals: bool = False,
    encoding: str = "utf-8",
) -> int:
    """Write all prints of a tape with times cut to whole seconds; returns the number of rows.

    Args:
        path: the file; a name that ends in ``.gz`` is compressed.
        tape: simulated or read; its symbols share the file.
        layout: the WINFUT columns, or Profit's Times & Trades (always pt-BR numbers and padding rows).
        newest_first: the last print first.
        header: WINFUT only.
        types: how WINFUT trade types are written.
        comma_decimals: WINFUT with ``;`` between columns and pt-BR numbers.
        encoding: Times & Trades exports are often ``cp1252``.
    """
    if layout == "winfut":
        delimiter = ";" if comma_decimals else ","
        names = {"brackets": [f"<{c}>" for c in COLUMNS], "names": list(COLUMNS), "none": []}[header]
        head = [delimiter.join(names)] if names else []
        timed = chain.from_iterable(_winfut(c, types, delimiter, comma_decimals) for c in tape.chunks())
        tail: list[str] = []
    else:
        head, tail = [TIMES_AND_TRADES], [";" * 7] * 3
        timed = chain.from_iterable(_times_trades(c) for c in tape.chunks())
    # A stable sort: symbols are merged by time, the prints of each keep their order.
    rows = [row for _, row in sorted(timed, key=lambda pair: pair[0])]
    if newest_first:
        rows.reverse()
    data = ("\r\n".join([*head, *rows, *tail]) + "\r\n").encode(encoding)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return len(rows)


def _winfut(chunk: TapeChunk, types: TypeStyle, delimiter: str, comma_decimals: bool) -> list[tuple[int, str]]:
    rows = []
    number = _pt_br if comma_decimals else _dotted
    for ts, price, volume, _, _, kind, _, buyer, seller, trade_id in zip(*(list(c) for c in chunk.ticks), strict=True):
        local = _local(int(ts))
        enum, portuguese, _ = _TYPES[int(kind)]
        cells = (
            chunk.symbol,
            f"{local:%Y%m%d}",
            f"{local:%H%M%S}",
            str(trade_id),
            number(float(price), 2),
            number(float(volume), 0),
            number(float(price * volume), 2),
            f"BROKER {buyer}",
            f"BROKER {seller}",
            {"enum": enum, "portuguese": portuguese, "code": str(kind)}[types],
            "0",
        )
        rows.append((int(ts), delimiter.join(cells)))
    return rows


def _times_trades(chunk: TapeChunk) -> list[tuple[int, str]]:
    rows = []
    for ts, price, volume, _, _, kind, _, buyer, seller, _ in zip(*(list(c) for c in chunk.ticks), strict=True):
        local = _local(int(ts))
        cells = (
            chunk.symbol,
            f"{local:%d/%m/%Y}",
            f"{local:%H:%M:%S}",
            f"{buyer} - CORRETORA {buyer} S/A",
            _pt_br(float(price), 2),
            _pt_br(float(volume), 0),
            f"{seller} - CORRETORA {seller} S/A",
            _TYPES[int(kind)][2],
        )
        rows.append((int(ts), ";".join(cells)))
    return rows


def _local(ts_ns: int) -> datetime:
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).astimezone(ZoneInfo(ZONE))


def _dotted(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}"


def _pt_br(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".translate(str.maketrans(",.", ".,"))
