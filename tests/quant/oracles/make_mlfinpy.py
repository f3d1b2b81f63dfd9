"""Writes ``mlfinpy.json``: a seeded tape and what mlfinpy makes of it, for the tests beside this file.

mlfinpy's pins clash with tapelab's, so this runs in an environment of its own
(``pip install mlfinpy==0.1.2 scikit-learn``): ``python make_mlfinpy.py``. It imports nothing of tapelab.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from mlfinpy.data_structure import standard_bars
from mlfinpy.labeling import labeling
from mlfinpy.util.frac_diff import frac_diff_ffd, get_weights_ffd

N, NIGHT = 300, 180  # prints, and the first of them on the second day
BARS = {"tick": 7, "volume": 25.0, "dollar": 2_500.0}
ORDER, THRESHOLD = 0.4, 1.57e-3  # which keeps 40 weights
WIDTH, HORIZON = 0.004, 15


def bars(kind: str, seconds: list[float], price: list[float], volume: list[float]) -> list[list[float]]:
    """Rows of end (seconds), tick_num, OHLC, volume, buy volume, ticks, dollars."""
    ends = pd.to_datetime([round(s * 1e9) for s in seconds])
    frame = pd.DataFrame({"date_time": ends, "price": price, "volume": volume})
    found = getattr(standard_bars, f"get_{kind}_bars")(frame, threshold=BARS[kind], verbose=False)
    return [[row[0].value / 1e9, *map(float, row[1:])] for row in found.itertuples(index=False)]


def main() -> None:
    rng = np.random.default_rng(20_250_310)
    seconds = np.round(np.cumsum(rng.exponential(4.0, N)), 3)
    seconds[NIGHT:] += 86_400.0
    price = 100.0 + 0.5 * np.cumsum(rng.choice([-1, 0, 1], N, p=[0.25, 0.5, 0.25]))
    volume = np.round(np.ceil(rng.pareto(1.5, N) * 20.0) / 10.0, 1)
    volume[50] = 120.0  # several thresholds at once
    tape = seconds.tolist(), price.tolist(), volume.tolist()
    first_day = tuple(column[:NIGHT] for column in tape)
    holed = (first_day[0], first_day[1], [float("nan") if i == 60 else v for i, v in enumerate(first_day[2])])

    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, N)))
    times = pd.date_range("2024-02-12 12:00", periods=N, freq="s")
    series = pd.Series(close, index=times)
    differenced = frac_diff_ffd(np.log(series).to_frame("x"), ORDER, THRESHOLD)["x"]
    late = np.log(series).to_frame("x")
    late.iloc[0] = np.nan
    try:
        frac_diff_ffd(late, ORDER, THRESHOLD)
        failed = ""
    except ValueError as error:
        failed = str(error)

    events = pd.DataFrame({"t1": times[np.minimum(np.arange(N) + HORIZON, N - 1)], "trgt": WIDTH, "side": 1.0}, times)
    touched = labeling.triple_barriers(series, events, np.array([1.0, 1.0]), times)
    rows = [[-1 if pd.isna(t) else int(times.get_loc(t)) for t in touched[name]] for name in ("pt", "sl")]
    # A barrier of 5 targets of 4 %: 20.5 % up is beyond it, and still no touch when the label is made.
    jump = pd.Series([100.0, 120.5, 120.5], times[:3])
    far = labeling.get_events(
        jump, times[:1], [5.0, 5.0], pd.Series(0.04, times[:1]), 0.0, 1, pd.Series(times[2:3], times[:1]), verbose=False
    )
    label = labeling.get_bins(far, jump)

    out = {
        "version": version("mlfinpy"),
        "tape": dict(zip(("seconds", "price", "volume"), tape, strict=True)),
        "night": NIGHT,
        "thresholds": BARS,
        "bars": {kind: bars(kind, *first_day) for kind in BARS},
        "bars_over_night": {kind: bars(kind, *tape) for kind in BARS},
        "volume_bars_after_nan": bars("volume", *holed),
        "close": close.tolist(),
        "frac_diff": {
            "order": ORDER,
            "weights": get_weights_ffd(ORDER, THRESHOLD, N)[::-1, 0].tolist(),
            "values": [None if np.isnan(v) else v for v in differenced],
            "first_value_missing": failed,
        },
        "triple_barrier": {"width": WIDTH, "horizon": HORIZON, "up": rows[0], "down": rows[1]},
        "jump": {
            "prices": jump.tolist(),
            "upper": 0.2,
            "end_row": int(times.get_loc(far["t1"].iloc[0])),
            "label": int(label["bin"].iloc[0]),
        },
    }
    Path(__file__).with_name("mlfinpy.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
