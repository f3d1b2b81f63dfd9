"""The hftbacktest side of ``backtest_ticks``, run as a script by a Python that has hftbacktest.

``argv``: an npz file with the feed (``ev``, ``ts``, ``px``, ``qty``), the orders (``sent``, ``side``, ``limit``,
``cancel``; one lot each), ``tick`` and ``latency``, and rounds. Prints JSON: the version, median seconds, and the
numbers of the orders that were filled.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from importlib import import_module
from typing import Any


def main(path: str, rounds: int) -> dict[str, Any]:
    """Run it."""
    np, numba, hft = import_module("numpy"), import_module("numba"), import_module("hftbacktest")
    post_only, limit_order = hft.GTX, hft.LIMIT

    @numba.njit  # type: ignore[untyped-decorator]
    def drive(hbt: Any, sent: Any, side: Any, limit: Any, cancel: Any, filled: Any) -> None:
        """Send every order, cancel it in time, and note what the position gained by then."""
        position = 0.0
        for k in range(len(sent)):
            hbt.elapse(sent[k] - hbt.current_timestamp)
            if side[k] > 0:
                hbt.submit_buy_order(0, k, limit[k], 1.0, post_only, limit_order, False)
            else:
                hbt.submit_sell_order(0, k, limit[k], 1.0, post_only, limit_order, False)
            hbt.elapse(cancel[k] - hbt.current_timestamp)
            order = hbt.orders(0).get(k)
            if order is not None and order.cancellable:
                hbt.cancel(0, k, True)
            filled[k] = hbt.position(0) - position
            position += filled[k]
            hbt.clear_inactive_orders(0)

    given = np.load(path)
    feed = np.zeros(len(given["ts"]), hft.event_dtype)
    for name, column in (("ev", "ev"), ("exch_ts", "ts"), ("local_ts", "ts"), ("px", "px"), ("qty", "qty")):
        feed[name] = given[column]
    orders = [given[name] for name in ("sent", "side", "limit", "cancel")]
    filled, took = np.zeros(len(orders[0])), []
    for _ in range(rounds + 1):
        asset = hft.BacktestAsset().data([feed]).linear_asset(1.0).constant_order_latency(int(given["latency"]), 0)
        asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
        asset = asset.tick_size(float(given["tick"])).lot_size(1.0).last_trades_capacity(0)
        hbt = hft.HashMapMarketDepthBacktest([asset])
        begin = time.perf_counter()
        drive(hbt, *orders, filled)
        took.append(time.perf_counter() - begin)
        hbt.close()
    # The first round compiles.
    version = import_module("importlib.metadata").version("hftbacktest")
    return {"version": version, "seconds": statistics.median(took[1:]), "filled": np.flatnonzero(filled).tolist()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
