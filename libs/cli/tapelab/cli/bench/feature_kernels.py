"""``tapelab bench kernels``: the feature kernel against pandas, polars and bottleneck, and one step of many symbols."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from tapelab.cli.bench.feature_peers import bottleneck_features, pandas_features, polars_features
from tapelab.cli.bench.kernel_peers_agree import features_agree
from tapelab.cli.bench.timing import Run, medians
from tapelab.quant._numba import njit
from tapelab.quant.dtypes import BAR_DTYPE, TRAILING_WINDOWS
from tapelab.quant.features import FEATURE_SETS, FeatureBank, compute_features

BARS: Final = 200_000
SYMBOLS: Final = 64
STEPS: Final = 300
_WARM: Final = 300
SEED: Final = 20_240_611
TICK: Final = 0.5

_PEERS: Final = {"pandas": pandas_features, "polars": polars_features, "bottleneck": bottleneck_features}
_DAY_NS: Final = 86_400_000_000_000


def synthetic_bars(n: int = BARS, seed: int = SEED) -> Any:
    """Seeded bars of one day, shape (n,) of ``BAR_DTYPE``, every field the set ``core`` reads filled."""
    rng = np.random.default_rng(seed)
    bars = np.zeros(n, BAR_DTYPE)
    bars["day"] = 20240610
    bars["session_close_ns"] = _DAY_NS
    bars["ts_close_ns"] = np.sort(rng.integers(0, _DAY_NS, n))
    bars["n"] = rng.integers(20, 80, n)
    bars["buy_n"] = rng.binomial(bars["n"], 0.5)
    bars["sell_n"] = bars["n"] - bars["buy_n"]
    bars["up_ticks"], bars["down_ticks"] = rng.binomial(bars["n"], 0.3), rng.binomial(bars["n"], 0.3)
    bars["close"] = 100_000.0 + TICK * np.cumsum(rng.integers(-3, 4, n))
    bars["open"] = np.concatenate([bars["close"][:1], bars["close"][:-1]])
    bars["high"] = np.maximum(bars["open"], bars["close"]) + TICK * rng.integers(0, 4, n)
    bars["low"] = np.minimum(bars["open"], bars["close"]) - TICK * rng.integers(0, 4, n)
    bars["vwap"] = rng.uniform(bars["low"], bars["high"])
    bars["buy_volume"], bars["sell_volume"] = rng.integers(1, 500, n), rng.integers(1, 500, n)
    bars["volume"] = bars["buy_volume"] + bars["sell_volume"]
    bars["dollar"] = bars["vwap"] * bars["volume"]
    bars["dt_mean_s"] = rng.exponential(0.4, n)
    bars["dt_var_s2"] = rng.exponential(0.4, n)
    bars["realised_var"] = rng.exponential(1e-8, n)
    bars["buy_agent_hhi"], bars["sell_agent_hhi"] = rng.uniform(0.1, 1.0, n), rng.uniform(0.1, 1.0, n)
    for suffix, length_ns in TRAILING_WINDOWS:
        seconds = length_ns / 1e9
        bars[f"ret_{suffix}"] = rng.normal(0.0, 1e-5, n)
        bars[f"n_{suffix}"] = rng.poisson(2.0 * seconds, n)
        bars[f"volume_{suffix}"] = rng.uniform(1.0, 100.0, n) * seconds
        bars[f"signed_volume_{suffix}"] = bars[f"volume_{suffix}"] * rng.uniform(-1.0, 1.0, n)
        bars[f"rv_{suffix}"] = rng.exponential(1e-9 * seconds, n)
    return bars


@njit
def _write(bars: Any, out: Any) -> None:
    """Read one field of each bar and write its row: what no way of computing 30 features can do without."""
    for i in range(len(bars)):
        value = bars[i].close
        for j in range(out.shape[1]):
            out[i, j] = value


def feature_rows(rounds: int, *, with_peers: bool = True) -> list[dict[str, Any]]:
    """The rows ``rolling_features_30`` and ``feature_step``.

    Args:
        rounds: turns.
        with_peers: false leaves the peers out; their figures are null.

    Raises:
        RuntimeError: a peer computes other features.
    """
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    bars = synthetic_bars()
    return [_batch_row(rounds, bars, with_peers=with_peers), _step_row(bars)]


def _batch_row(rounds: int, bars: Any, *, with_peers: bool) -> dict[str, Any]:
    core = FEATURE_SETS["core"]
    out = np.empty((len(bars), len(core.specs)), np.float32)
    runs: dict[str, Run] = {
        "tapelab": lambda: compute_features(bars, core, TICK),
        "floor": lambda: _write(bars, out),
    }
    missing = []
    for name, peer in _PEERS.items():
        if with_peers and find_spec(name) is not None:
            runs[name] = peer(bars, TICK)
            features_agree(compute_features(bars, core, TICK).values, runs[name](), name, core.names)
        elif with_peers:
            missing.append(f"{name} is not installed")
    rates = {name: round(len(bars) / took / 1e6, 4) for name, took in medians(runs, rounds).items()}
    left_out = "; ".join(missing) if with_peers else "peers left out by --without-peers"
    return {
        "work": "rolling_features_30",
        "unit": "M rows/s",
        "higher_is_better": True,
        "tapelab": rates["tapelab"],
        "peers": {name: rates.get(name) for name in _PEERS},
        "floor": rates["floor"],
        "note": f"set core, {len(bars)} synthetic bars of one day: 30 features and their rolling normalisation over "
        f"{core.normaliser.window} bars, the same values from all; one thread" + (f"; {left_out}" if left_out else ""),
    }


def _step_row(bars: Any) -> dict[str, Any]:
    together, alone = FeatureBank(FEATURE_SETS["core"]), FeatureBank(FEATURE_SETS["core"])
    # Every other symbol has another tick size.
    symbols = np.array([together.add(TICK * (1 + k % 2)) for k in range(SYMBOLS)])
    first = np.array([alone.add(TICK)])
    for i in range(_WARM):
        together.update(np.repeat(bars[i : i + 1], SYMBOLS), symbols)
    alone.update(bars[:_WARM], np.zeros(_WARM, np.int64))
    position = {"together": _WARM, "alone": _WARM}

    def step(name: str, bank: FeatureBank, numbers: Any) -> None:
        start = position[name]
        position[name] = start + len(numbers) if start + 2 * len(numbers) <= len(bars) else _WARM
        bank.update(bars[start : start + len(numbers)], numbers)

    runs = {"tapelab": lambda: step("together", together, symbols), "alone": lambda: step("alone", alone, first)}
    took = medians(runs, STEPS)
    return {
        "work": "feature_step",
        "unit": "us/symbol row",
        "higher_is_better": False,
        "tapelab": round(took["tapelab"] / SYMBOLS * 1e6, 3),
        "peers": {},
        "floor": None,
        "note": f"set core, warm, one synthetic bar each of {SYMBOLS} symbols in one call, as the features service "
        f"makes it; a call with one symbol's bar alone takes {took['alone'] * 1e6:.1f} us, nearly all of it the way "
        "from Python and back",
    }
