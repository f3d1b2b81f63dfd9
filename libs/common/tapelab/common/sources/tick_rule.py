"""The tick rule: a print above the last different price is a buy, one below it a sell."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from tapelab.common.sources.local_time import DAY_NS
from tapelab.quant._numba import njit
from tapelab.quant.dtypes import AggressorSource, TickFlag, TradeType
from tapelab.quant.ticks import Ticks

_NO_PRICE: Final = int(TickFlag.SUSPICIOUS | TickFlag.CANCELLED)
_TICK_RULE: Final = int(AggressorSource.TICK_RULE)
_NONE: Final = int(TradeType.NONE)
_UNKNOWN: Final = int(TradeType.UNKNOWN)


@njit
def _apply(
    ts: npt.NDArray[np.int64],
    price: npt.NDArray[np.float64],
    code: npt.NDArray[np.int32],
    trade_type: npt.NDArray[np.uint8],
    flags: npt.NDArray[np.uint16],
    aggressor: npt.NDArray[np.int8],
    source: npt.NDArray[np.uint8],
    last_day: npt.NDArray[np.int64],
    last_price: npt.NDArray[np.float64],
    last_side: npt.NDArray[np.int8],
) -> None:
    for i in range(len(ts)):
        if flags[i] & _NO_PRICE:
            continue
        symbol = code[i]
        day = ts[i] // DAY_NS
        if day != last_day[symbol]:
            last_day[symbol] = day
            last_price[symbol] = price[i]
            last_side[symbol] = 0
        elif price[i] > last_price[symbol]:
            last_side[symbol] = 1
        elif price[i] < last_price[symbol]:
            last_side[symbol] = -1
        last_price[symbol] = price[i]
        if aggressor[i] == 0 and (trade_type[i] == _NONE or trade_type[i] == _UNKNOWN) and last_side[symbol] != 0:
            aggressor[i] = last_side[symbol]
            source[i] = _TICK_RULE


class TickRule:
    """Fills in the aggressor of prints whose venue and trade type say nothing about it.

    State (last price, last direction) is carried per symbol and starts afresh with each UTC day, so the
    result does not depend on how the tape is cut into blocks and a day can be read alone. Prints before
    the first price change of a day stay unknown. Suspicious and cancelled prints are left alone.

    Source: Lee and Ready (1991), "Inferring Trade Direction from Intraday Data".
    """

    def __init__(self) -> None:
        self._day = np.full(1, np.iinfo(np.int64).min, np.int64)
        self._price = np.zeros(1, np.float64)
        self._side = np.zeros(1, np.int8)

    def apply(self, ticks: Ticks, code: npt.NDArray[np.int32], n_symbols: int) -> Ticks:
        """The same prints with aggressors filled in; ``code`` (shape ``(n,)``) says whose print each is."""
        grow = n_symbols - len(self._day)
        if grow > 0:
            self._day = np.append(self._day, np.full(grow, np.iinfo(np.int64).min, np.int64))
            self._price = np.append(self._price, np.zeros(grow))
            self._side = np.append(self._side, np.zeros(grow, np.int8))
        aggressor, source = ticks.aggressor.copy(), ticks.aggressor_source.copy()
        _apply(
            ticks.ts_event_ns,
            ticks.price,
            code,
            ticks.trade_type,
            ticks.flags,
            aggressor,
            source,
            self._day,
            self._price,
            self._side,
        )
        return ticks._replace(aggressor=aggressor, aggressor_source=source)
