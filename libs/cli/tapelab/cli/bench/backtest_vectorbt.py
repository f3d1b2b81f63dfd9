"""The vectorbt side of ``tapelab bench backtest``, run as a script by a Python that has vectorbt.

It is given the positions to hold, so it decides nothing; it trades them at the delayed prices, pays the same
costs and builds the equity. ``argv``: an npz file with ``price`` and ``fill`` (n), ``rate`` (n, costs as a
fraction of the fill price), ``size`` (n, k; change in units of the price, NaN without an order), and rounds.
Prints JSON: the version, median seconds, and each column's net profit.
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
    import numpy as np

    vbt = import_module("vectorbt")  # of the Python that runs this, not of the one that checks types

    given = np.load(path)
    size = given["size"]
    price, fill, rate = (np.ascontiguousarray(given[name])[:, None] for name in ("price", "fill", "rate"))
    cash = 1e12

    def run() -> Any:
        portfolio = vbt.Portfolio.from_orders(
            price, size=size, price=fill, fees=rate, init_cash=cash, direction="both", freq="1s"
        )
        return np.asarray(portfolio.value())

    last = run()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        last = run()
        taken.append(time.perf_counter() - started)
    net = (last.reshape(len(size), -1)[-1] - cash).tolist()
    return {"version": vbt.__version__, "seconds": statistics.median(taken), "net": net}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
