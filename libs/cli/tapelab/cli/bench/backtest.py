"""``tapelab bench backtest``: single runs and grids of thresholds against vectorbt; orders on prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.cli.bench import backtest_ticks, backtest_vectorbt
from tapelab.cli.bench import kernel_peers_apart as apart
from tapelab.cli.bench.timing import machine, medians
from tapelab.common.errors import ConfigError
from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import CostModel, one_side_costs
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.engine import run_backtest, sweep_thresholds
from tapelab.quant.backtest.fills import fills_after_latency

#: Bars by number of thresholds: the peer holds one row of orders per threshold in memory.
CASES: Final = ((1, 1_000_000), (16, 200_000), (256, 50_000))
#: A run takes milliseconds, and a busy machine spoils single ones.
ROUNDS: Final = 25
PEER_ROUNDS: Final = 5
SEED: Final = 20_240_610
LATENCY_NS: Final = 200_000_000
BARS_PER_DAY: Final = 5_000
_SECOND: Final = 1_000_000_000
_COSTS: Final = CostModel(0.25, 0.0, 1.0, 0.25, 5.0, 0.2)
_PARAMS: Final = DecisionParams(1.6e-4, _SECOND, 30 * _SECOND, 60 * _SECOND)
_RUN_S: Final = 600.0

_A = npt.NDArray[Any]
Columns = tuple[_A, _A, _A, _A, _A, _A, _A, _A]


class _Peer(NamedTuple):
    """A Python with vectorbt, or why there is none."""

    python: str
    reason: str


def market(n: int, seed: int = SEED) -> Columns:
    """Seeded columns of ``run_backtest``: a bar a second, prices on a grid, fills after 200 ms."""
    rng = np.random.default_rng(seed)
    ts = np.arange(n) * _SECOND + (np.arange(n) // BARS_PER_DAY) * 40_000 * _SECOND
    price = np.maximum(130_000.0 + 5.0 * np.cumsum(rng.choice([-1, 0, 1], n)), 50_000.0)
    day = (20_000 + np.arange(n) // BARS_PER_DAY).astype(np.int32)
    end = np.append(np.diff(day) != 0, True)
    close = ts[np.flatnonzero(end)][day - day[0]] + _SECOND
    # Two prints a second, the first within the latency.
    prints = np.stack([ts, ts + _SECOND // 2], axis=1).reshape(-1)
    at = np.stack([price, price + 5.0 * rng.integers(-1, 2, n)], axis=1).reshape(-1)
    fill = fills_after_latency(ts, prints, at, LATENCY_NS, close)
    return ts, price, fill, day, close, end, rng.random(n) < 0.999, rng.normal(0.0, 1e-4, n)


@njit
def _fused_read(ts: Any, price: Any, fill: Any, close: Any, end: Any, usable: Any, expected: Any) -> int:
    """Touch every column once, in one loop; whole numbers, so that it vectorises."""
    total = 0
    for i in range(len(ts)):
        total += (ts[i] ^ close[i]) + (price[i] ^ fill[i] ^ expected[i]) + (end[i] ^ usable[i])
    return total


def run(*, with_peers: bool = True, peer_python: str = "", ticks_peer_python: str = "") -> dict[str, Any]:
    """Measure one threshold, 16 and 256, with fees, spread, slippage, latency and equity; and orders on prints.

    Args:
        with_peers: false leaves vectorbt and hftbacktest out.
        peer_python: a Python that has vectorbt; without it one is made in a temporary folder, by pip.
        ticks_peer_python: the same for hftbacktest, whose pins clash.

    Returns:
        ``{bench, machine, rows}``; a peer that could not run is null, the reason in the note.
    """
    with tempfile.TemporaryDirectory(prefix="tapelab-bench-") as folder:
        peer = ticks_peer = _Peer("", "left out by --without-peers")
        if with_peers:
            peer = _Peer(peer_python, "") if peer_python else _make_peer(Path(folder), "vectorbt")
            ticks_peer = _Peer(ticks_peer_python, "") if ticks_peer_python else _make_peer(Path(folder), "hftbacktest")
        rows = []
        for k, n in CASES:
            print(f"backtest: {k} thresholds over {n} bars", file=sys.stderr)
            rows.append(_row(k, n, peer, Path(folder)))
        print("backtest: passive orders on prints", file=sys.stderr)
        rows.append(backtest_ticks.row(*ticks_peer, Path(folder)))
    return {"bench": "backtest", "machine": machine(), "rows": rows}


def _row(k: int, n: int, peer: _Peer, folder: Path) -> dict[str, Any]:
    columns = market(n)
    ts, price, fill, _, close, end, usable, expected = columns
    thresholds = np.array([_PARAMS.threshold]) if k == 1 else np.linspace(1.2e-4, 2.4e-4, k)
    read = (
        ts,
        *(column.view(np.int64) for column in (price, fill)),
        close,
        end.view(np.int8),
        usable.view(np.int8),
        expected.view(np.int64),
    )
    seconds = medians(
        {
            "tapelab": lambda: sweep_thresholds(thresholds, *columns, _PARAMS, _COSTS, with_equity=True),
            "floor": lambda: [_fused_read(*read) for _ in range(k)],
        },
        ROUNDS,
    )
    swept = sweep_thresholds(thresholds, *columns, _PARAMS, _COSTS)
    theirs, note = None, peer.reason
    if not peer.reason:
        theirs, note = _measure(peer, folder, columns, thresholds, swept.net_pnl)
    rates = {name: round(n * k / took / 1e6, 3) for name, took in seconds.items()}
    return {
        "work": "backtest" if k == 1 else f"backtest_grid_{k}",
        "unit": "M bars/s",
        "higher_is_better": True,
        "tapelab": rates["tapelab"],
        "peers": {"vectorbt": None if theirs is None else round(n * k / theirs / 1e6, 3)},
        "floor": rates["floor"],
        "note": f"{n} bars x {k} thresholds, {int(swept.n_trades.sum())} trades, 1 thread; fees, spread, slippage, "
        f"200 ms latency, equity and key figures, the decisions included; {note}",
    }


def _measure(
    peer: _Peer, folder: Path, columns: Columns, thresholds: npt.NDArray[Any], net: npt.NDArray[Any]
) -> tuple[float | None, str]:
    """Median seconds of vectorbt over the same positions, and what to note; its profit must be ours."""
    price, fill = columns[1], columns[2]
    size = np.empty((len(price), len(thresholds)))
    for k, threshold in enumerate(thresholds):
        side = run_backtest(*columns, _PARAMS._replace(threshold=float(threshold)), _COSTS).side.astype(np.float64)
        change = np.diff(side, prepend=0.0) * _COSTS.multiplier
        size[:, k] = np.where(change != 0.0, change, np.nan)
    path = folder / "orders.npz"
    np.savez(path, price=price, fill=fill, rate=one_side_costs(fill, _COSTS) / fill, size=size)
    words = [peer.python, "-P", str(Path(backtest_vectorbt.__file__)), str(path), str(min(ROUNDS, PEER_ROUNDS))]
    one_thread = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_RUN_S, env={**os.environ, **one_thread}, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"vectorbt did not run: {error}"
    if done.returncode:
        return None, f"vectorbt did not run: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    told = json.loads(done.stdout.splitlines()[-1])
    apart = float(np.max(np.abs(np.array(told["net"]) - net)))
    note = f"vectorbt {told['version']} from_orders and value(), given the positions; net profits {apart:.2g} apart"
    return float(told["seconds"]), note


def _make_peer(folder: Path, package: str) -> _Peer:
    """A throw-away environment with a package."""
    try:
        return _Peer(str(apart.make(folder, package, (package,))), "")
    except ConfigError as error:
        return _Peer("", str(error))
