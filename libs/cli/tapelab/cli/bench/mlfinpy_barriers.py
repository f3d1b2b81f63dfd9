"""Runs in an environment of mlfinpy's own, whose pins clash with tapelab's: times its triple barrier.

``python mlfinpy_barriers.py CLOSES.npy WIDTH HORIZON OUT.npy`` prints the seconds and writes the row of each
first touch, -1 where there was none.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np


def touches(closes: str, width: float, horizon: int, out: str) -> float:
    """Seconds of one call over all closes."""
    import pandas as pd
    from mlfinpy.labeling.labeling import triple_barriers  # type: ignore[import-not-found,unused-ignore]

    close = np.load(closes)
    index = pd.date_range("2024-01-01", periods=len(close), freq="s")
    ends = index[np.minimum(np.arange(len(close)) + horizon, len(close) - 1)]
    events = pd.DataFrame({"t1": ends, "trgt": width, "side": 1.0}, index=index)
    prices = pd.Series(close, index=index)
    started = time.perf_counter()
    found: Any = triple_barriers(prices, events, np.array([1.0, 1.0]), index)
    taken = time.perf_counter() - started
    first = pd.concat([pd.to_datetime(found["pt"]), pd.to_datetime(found["sl"])], axis=1).min(axis=1)
    np.save(out, np.where(first.isna(), -1, index.get_indexer(pd.DatetimeIndex(first))))
    return taken


if __name__ == "__main__":
    print(touches(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
