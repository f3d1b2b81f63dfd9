"""Trade types by number and by name, what they say about a print, and brokers as numbers."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

import numpy as np
import numpy.typing as npt

from tapelab.quant.dtypes import Aggressor, AggressorSource, TickFlag, TradeType

#: ProfitDLL enum names and the words of Profit's exports, as :func:`plain` writes them.
_NAMES: Final[dict[str, int]] = {
    "crosstrade": TradeType.CROSS,
    "cross": TradeType.CROSS,
    "direto": TradeType.CROSS,
    "negociodireto": TradeType.CROSS,
    "aggressorbuyer": TradeType.BUYER_AGGRESSOR,
    "buyeraggressor": TradeType.BUYER_AGGRESSOR,
    "compraagressao": TradeType.BUYER_AGGRESSOR,
    "agressaocompra": TradeType.BUYER_AGGRESSOR,
    "comprador": TradeType.BUYER_AGGRESSOR,
    "aggressorseller": TradeType.SELLER_AGGRESSOR,
    "selleraggressor": TradeType.SELLER_AGGRESSOR,
    "vendaagressao": TradeType.SELLER_AGGRESSOR,
    "agressaovenda": TradeType.SELLER_AGGRESSOR,
    "vendedor": TradeType.SELLER_AGGRESSOR,
    "auction": TradeType.AUCTION,
    "leilao": TradeType.AUCTION,
    "surveillance": TradeType.SURVEILLANCE,
    "fiscalizacao": TradeType.SURVEILLANCE,
    "expit": TradeType.EXPIT,
    "optionexercise": TradeType.OPTION_EXERCISE,
    "exerciciodeopcao": TradeType.OPTION_EXERCISE,
    "overthecounter": TradeType.OVER_THE_COUNTER,
    "balcao": TradeType.OVER_THE_COUNTER,
    "derivativeterm": TradeType.DERIVATIVE_TERM,
    "termo": TradeType.DERIVATIVE_TERM,
    "index": TradeType.INDEX,
    "indice": TradeType.INDEX,
    "btc": TradeType.BTC,
    "onbehalf": TradeType.ON_BEHALF,
    "poroutro": TradeType.ON_BEHALF,
    "rlp": TradeType.RLP,
    "bbt": 14,
    "rfq": 15,
    "mpt": 16,
    "tac": 17,
    "taa": 18,
    "unknown": TradeType.UNKNOWN,
    "desconhecido": TradeType.UNKNOWN,
    "update": 33,
    "mid": 34,
    "offexchange": 35,
}


def plain(text: str) -> str:
    """Letters and digits of a text in lower case, without accents."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed.casefold() if c.isascii() and c.isalnum())


def trade_type_code(text: str) -> int:
    """Number of a trade type written as number or name; empty text is 0, an unheard-of name -1."""
    key = plain(text.removeprefix("tt").removeprefix("TT"))
    if not key:
        return int(TradeType.NONE)
    if key.isdecimal():
        return int(key) if int(key) <= 255 else -1
    return int(_NAMES.get(key, -1))


def _lookup(values: dict[int, int], dtype: type[np.generic]) -> npt.NDArray[np.generic]:
    table = np.zeros(256, dtype)
    for code, value in values.items():
        table[code] = value
    return table


_AGGRESSOR: Final = _lookup(
    {TradeType.BUYER_AGGRESSOR: Aggressor.BUY, TradeType.SELLER_AGGRESSOR: Aggressor.SELL}, np.int8
)
_SOURCE: Final = _lookup(
    {TradeType.BUYER_AGGRESSOR: AggressorSource.TRADE_TYPE, TradeType.SELLER_AGGRESSOR: AggressorSource.TRADE_TYPE},
    np.uint8,
)
_FLAGS: Final = _lookup(
    {TradeType.AUCTION: TickFlag.AUCTION, TradeType.CROSS: TickFlag.CROSS, TradeType.RLP: TickFlag.RLP}, np.uint16
)


def of_trade_type(
    trade_type: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """Aggressor, aggressor source and flags of trade types: only 2 and 3 carry a direction."""
    return _AGGRESSOR[trade_type], _SOURCE[trade_type], _FLAGS[trade_type]  # type: ignore[return-value]


_LEADING_NUMBER: Final = re.compile(r"\s*(\d{1,9})\b")
_NAME_BIT: Final = 1 << 30


def agent_id(text: str) -> int:
    """A broker as i32: its leading number where it has one (``147 - NAME``), else a hash of its name.

    Hashes lie in ``2**30 .. 2**31 - 1`` and so never meet a broker's number; empty text is 0. The same
    name gives the same number everywhere, whatever its case, accents and punctuation.
    """
    number = _LEADING_NUMBER.match(text)
    if number:
        return int(number.group(1)) & (_NAME_BIT - 1)
    name = plain(text)
    if not name:
        return 0
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little") % _NAME_BIT + _NAME_BIT
