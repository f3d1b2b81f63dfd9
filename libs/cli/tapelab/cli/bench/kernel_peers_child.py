"""Bars by a library whose pins clash with tapelab's: run by that library's own interpreter, as a plain script.

``python kernel_peers_child.py PEER KIND THRESHOLD TAPE.npz ROUNDS`` prints one JSON object: the median seconds of a
pass over the tape and the bars it gave. It imports nothing of tapelab. Objects and frames are made beforehand.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def nautilus(kind: str, threshold: float, tape: Any) -> Callable[[], int]:
    """NautilusTrader's aggregators, fed trade by trade as its data engine feeds them."""
    from nautilus_trader.data import aggregation
    from nautilus_trader.model import data, enums, identifiers
    from nautilus_trader.test_kit.providers import TestInstrumentProvider

    instrument = TestInstrumentProvider.btcusdt_binance()
    aggregator, measure = {
        "tick": (aggregation.TickBarAggregator, enums.BarAggregation.TICK),
        "volume": (aggregation.VolumeBarAggregator, enums.BarAggregation.VOLUME),
        "dollar": (aggregation.ValueBarAggregator, enums.BarAggregation.VALUE),
    }[kind]
    bar_type = data.BarType(
        instrument.id,
        data.BarSpecification(int(threshold), measure, enums.PriceType.LAST),
        enums.AggregationSource.INTERNAL,
    )
    side = {1: enums.AggressorSide.BUYER, -1: enums.AggressorSide.SELLER, 0: enums.AggressorSide.NO_AGGRESSOR}
    ticks = [
        data.TradeTick(
            instrument.id, instrument.make_price(p), instrument.make_qty(v), side[s], identifiers.TradeId("1"), t, t
        )
        for t, p, v, s in zip(*(tape[name].tolist() for name in ("ts", "price", "volume", "aggressor")), strict=True)
    ]

    def compute() -> int:
        bars: list[Any] = []
        handle = aggregator(instrument, bar_type, bars.append).handle_trade_tick
        for tick in ticks:
            handle(tick)
        return len(bars)

    return compute


def mlfinpy(kind: str, threshold: float, tape: Any) -> Callable[[], int]:
    """mlfinpy's standard bars over a frame of time, price and volume."""
    import pandas as pd
    from mlfinpy.data_structure import standard_bars

    get = getattr(standard_bars, f"get_{kind}_bars")
    columns = {"date_time": pd.to_datetime(tape["ts"]), "price": tape["price"], "volume": tape["volume"]}
    frame = pd.DataFrame(columns)
    return lambda: len(get(frame, threshold=threshold, verbose=False))


def main() -> None:
    """Measure what the arguments name."""
    peer, kind, threshold, path, rounds = sys.argv[1:]
    compute = {"nautilus": nautilus, "mlfinpy": mlfinpy}[peer](kind, float(threshold), np.load(path))
    bars = compute()
    taken = []
    for _ in range(int(rounds)):
        started = time.perf_counter()
        compute()
        taken.append(time.perf_counter() - started)
    print(json.dumps({"seconds": statistics.median(taken), "bars": bars}))


if __name__ == "__main__":
    main()
