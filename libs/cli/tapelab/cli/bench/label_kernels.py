"""Rows of ``tapelab bench kernels`` for labels: triple barriers against numpy's sliding windows and mlfinpy.

All get the same bars and barriers and find the same: the row that touches first and the side. mlfinpy looks at
closes alone, so it is given bars whose high and low are their close, in its own environment.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.cli.bench import kernel_peers_apart as apart
from tapelab.cli.bench.timing import Run, medians
from tapelab.quant._numba import njit
from tapelab.quant.labels.first_touch import Touches, first_touch

BARS: Final = 1_000_000
HORIZON: Final = 100
WIDTHS: Final = (2, 5, 10)
ROUNDS: Final = 5
#: mlfinpy takes minutes for as many labels as the others.
MLFINPY_BARS: Final = 20_000
SIGMA: Final = 1e-4
PEERS: Final = ("numpy_windows", "mlfinpy")
_SEED: Final = 20_240_612
_PART: Final = 8_192

Float64 = npt.NDArray[np.float64]


def walk(n: int) -> tuple[Float64, Float64, Float64]:
    """High, low and close of a seeded random walk, one sigma a bar."""
    rng = np.random.default_rng(_SEED)
    close = 1_000.0 * np.exp(np.cumsum(rng.normal(0.0, SIGMA, n)))
    high = close * (1.0 + np.abs(rng.normal(0.0, SIGMA / 2, n)))
    low = close * (1.0 - np.abs(rng.normal(0.0, SIGMA / 2, n)))
    return high, low, close


def ours(high: Float64, low: Float64, close: Float64, width: float) -> Touches:
    """tapelab: barriers, spans and touches."""
    start = np.arange(1, len(close) + 1)
    stop = np.minimum(start + HORIZON, len(close))
    return first_touch(high, low, start, stop, close * (1.0 + width), close * (1.0 - width))


def numpy_windows(high: Float64, low: Float64, close: Float64, width: float) -> Touches:
    """The usual vectorised form: every window of the path compared with its barriers, part by part."""
    n = len(close)
    start = np.arange(1, n + 1)
    row = np.minimum(start + HORIZON, n)
    side = np.zeros(n, np.int8)
    highs = np.lib.stride_tricks.sliding_window_view(np.append(high[1:], np.full(HORIZON, -np.inf)), HORIZON)
    lows = np.lib.stride_tricks.sliding_window_view(np.append(low[1:], np.full(HORIZON, np.inf)), HORIZON)
    upper, lower = close * (1.0 + width), close * (1.0 - width)
    for begin in range(0, n, _PART):
        part = slice(begin, min(begin + _PART, n))
        below = lows[part] <= lower[part, None]
        touched = (highs[part] >= upper[part, None]) | below
        first = touched.argmax(axis=1)
        rows = np.arange(len(first))
        hit = touched[rows, first]
        row[part][hit] = (start[part] + first)[hit]
        side[part][hit] = np.where(below[rows, first], -1, 1)[hit]
    return Touches(row, side)


def mlfinpy_rate(python: str, close: Float64, width: float) -> float:
    """M labels/s of mlfinpy's ``triple_barriers`` under another interpreter; its first touches are checked.

    Raises:
        RuntimeError: it fails, or finds other touches.
    """
    with tempfile.TemporaryDirectory() as folder:
        closes, out = Path(folder) / "close.npy", Path(folder) / "out.npy"
        np.save(closes, close)
        words = [python, str(Path(__file__).with_name("mlfinpy_barriers.py")), str(closes)]
        done = subprocess.run([*words, str(width), str(HORIZON), str(out)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"mlfinpy under {python} fails: {done.stderr.strip().rpartition(chr(10))[2]}")
        rows = np.load(out)
    touches = ours(close, close, close, width)
    mine = np.where(touches.side != 0, touches.row, -1)
    # It compares returns, not prices: rounding may tell a touch at the barrier itself apart.
    if np.count_nonzero(mine != rows) > len(close) // 10_000:
        raise RuntimeError(f"mlfinpy finds other touches at {np.count_nonzero(mine != rows)} of {len(close)} bars")
    return len(close) / float(done.stdout) / 1e6


@njit
def _read(high: Any, low: Any, close: Any) -> int:
    total = 0
    for i in range(len(high)):
        total += high[i] ^ low[i] ^ close[i]
    return total


def rows(*, with_peers: bool, peers_env: Path = apart.DEFAULT_FOLDER, n: int = BARS) -> list[dict[str, Any]]:
    """``triple_barrier_2s``, ``_5s`` and ``_10s``: barriers 2, 5 and 10 sigma of a bar away.

    Raises:
        RuntimeError: a peer finds other touches.
    """
    high, low, close = walk(n)
    whole = [column.view(np.int64) for column in (high, low, close)]
    interpreter = apart.interpreter(peers_env, "mlfinpy")
    python = str(interpreter) if with_peers and interpreter.exists() else ""
    table = []
    for sigmas in WIDTHS:
        width = sigmas * SIGMA
        mine = ours(high, low, close, width)
        runs: dict[str, Run] = {
            "tapelab": lambda width=width: ours(high, low, close, width),  # type: ignore[misc]
            "floor": lambda: _read(*whole),
        }
        if with_peers:
            theirs = numpy_windows(high, low, close, width)
            if not (np.array_equal(mine.row, theirs.row) and np.array_equal(mine.side, theirs.side)):
                raise RuntimeError(f"numpy_windows finds other touches at {sigmas} sigma")
            runs["numpy_windows"] = lambda width=width: numpy_windows(high, low, close, width)  # type: ignore[misc]
        rates = {name: n / took / 1e6 for name, took in medians(runs, ROUNDS).items()}
        if python:
            rates["mlfinpy"] = mlfinpy_rate(python, close[:MLFINPY_BARS], width)
        note = f"{n} bars, H = {HORIZON}, barriers {sigmas} sigma away; rows and sides equal numpy_windows'"
        if not with_peers:
            note = f"{n} bars, H = {HORIZON}, barriers {sigmas} sigma away; peers left out by --without-peers"
        elif python:
            note += f"; mlfinpy on {min(MLFINPY_BARS, n)} of them, closes only"
        else:
            note += f"; mlfinpy not installed below {peers_env}: run once with --install-peers"
        table.append(
            {
                "work": f"triple_barrier_{sigmas}s",
                "unit": "M labels/s",
                "higher_is_better": True,
                "tapelab": round(rates["tapelab"], 3),
                "peers": {name: round(rates[name], 6) if name in rates else None for name in PEERS},
                "floor": round(rates["floor"], 3),
                "note": note,
            }
        )
    return table
