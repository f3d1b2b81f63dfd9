"""``tapelab bench kernels``: kernels against their peers, one thread, one run.

A further work is a file beside this one with a function that returns rows, called in :func:`run`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from tapelab.cli.bench import kernel_peers_apart as apart
from tapelab.cli.bench import kernels_scaling, label_kernels
from tapelab.cli.bench.feature_kernels import feature_rows
from tapelab.cli.bench.kernel_peers import PythonBars
from tapelab.cli.bench.kernel_peers_agree import bars_agree
from tapelab.cli.bench.timing import Run, machine, medians
from tapelab.common.errors import ConfigError
from tapelab.quant._numba import njit
from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.plain import PlainBars, compute_plain_bars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.dtypes import TICK_COLUMNS
from tapelab.quant.ticks import Ticks

TICKS: Final = 2_000_000
ROUNDS: Final = 5
CHUNK: Final = 512
STREAM_CHUNKS: Final = 2_000
CALLS: Final = 20
PRINTS_PER_BAR: Final = 200
SEED: Final = 20_240_610
PEERS: Final = ("pandas", "polars")

_ALWAYS: Final = SessionCalendar(timezone="UTC", open="00:00", close="24:00", weekdays=range(7))
_EVERY_TYPE: Final = range(256)


def synthetic_tape(n: int = TICKS, seed: int = SEED) -> Ticks:
    """A seeded tape of one day: bursts of prints, prices on a grid of 5 that mostly stay, whole lots, agents.

    Half of the prints follow the one before within a millisecond; a quarter change the price.
    """
    rng = np.random.default_rng(seed)
    day_ns = 1_717_977_600_000_000_000
    waits = rng.exponential(1.0, n) * np.where(rng.random(n) < 0.5, 1e-3, 2.0)
    elapsed = np.cumsum(waits)
    ts = day_ns + (elapsed / elapsed[-1] * 8.9 * 3_600e9).astype(np.int64)
    price = 130_000.0 + 5.0 * np.cumsum(rng.choice([-1, 0, 1], n, p=[0.125, 0.75, 0.125]))
    aggressor = rng.choice([-1, 1], n)
    columns = {
        "ts_event_ns": ts,
        "price": np.maximum(price, 5.0),
        "volume": np.ceil(rng.pareto(1.6, n) * 2.0 + 1e-9),
        "aggressor": aggressor,
        "aggressor_source": np.full(n, 2),
        "trade_type": np.where(aggressor > 0, 2, 3),
        "flags": np.zeros(n),
        "buy_agent": rng.zipf(1.5, n) % 90 + 1,
        "sell_agent": rng.zipf(1.5, n) % 90 + 1,
        "trade_id": np.arange(n),
    }
    return Ticks(*(columns[name].astype(dtype) for name, dtype in TICK_COLUMNS))


def _read_tape(path: str) -> tuple[Ticks, str]:
    """The prints of the tape's busiest symbol, and its name."""
    from tapelab.common.sources.detect import open_tape

    parts: dict[str, list[Ticks]] = {}
    for chunk in open_tape(path).chunks():
        parts.setdefault(chunk.symbol, []).append(chunk.ticks)
    symbol = max(parts, key=lambda name: sum(ticks.n for ticks in parts[name]))
    return Ticks.concatenate(parts[symbol]), symbol


@njit
def _fused_read(
    ts: Any, price: Any, volume: Any, aggressor: Any, trade_type: Any, flags: Any, buy_agent: Any, sell_agent: Any
) -> int:
    """Touch every column the bar kernel reads, once, in one loop; whole numbers, so that it vectorises."""
    total = 0
    for i in range(len(ts)):
        total += ts[i] ^ price[i] ^ volume[i]
        total += aggressor[i] + trade_type[i] + flags[i] + (buy_agent[i] ^ sell_agent[i])
    return total


@njit
def _fused_read_plain(ts: Any, price: Any, volume: Any, aggressor: Any, trade_type: Any, flags: Any) -> int:
    """The same over the columns a plain bar needs."""
    total = 0
    for i in range(len(ts)):
        total += ts[i] ^ price[i] ^ volume[i]
        total += aggressor[i] + trade_type[i] + flags[i]
    return total


def _reader(ticks: Ticks, *, plain: bool = False) -> Run:
    columns = (
        ticks.ts_event_ns,
        ticks.price.view(np.int64),
        ticks.volume.view(np.int64),
        ticks.aggressor,
        ticks.trade_type,
        ticks.flags,
        ticks.buy_agent,
        ticks.sell_agent,
    )
    return (lambda: _fused_read_plain(*columns[:6])) if plain else (lambda: _fused_read(*columns))


def _check_peers() -> None:
    missing = [name for name in PEERS if find_spec(name) is None]
    if missing:
        raise ConfigError(
            "the peers to measure against are not installed",
            expected=" and ".join(PEERS),
            actual=f"no {' and no '.join(missing)}",
            remedy="install the extra with pip install -e '.[bench]', or measure tapelab alone with --without-peers",
        )


def _peers(ticks: Ticks, spec: BarSpec, *, full: bool = False) -> dict[str, Run]:
    from tapelab.cli.bench.kernel_peers import pandas_bars, polars_bars

    return {"pandas": pandas_bars(ticks, spec, full=full), "polars": polars_bars(ticks, spec, full=full)}


def _left_out(with_peers: bool) -> str:
    return "" if with_peers else "; peers left out by --without-peers"


def _batch_row(
    work: str, spec: BarSpec, ticks: Ticks, note: str, *, full: bool = False, with_peers: bool, peers_env: Path
) -> dict[str, Any]:
    """A row over the whole tape; with ``full`` tapelab computes all of a bar, the peers the plain fields still."""
    compute = compute_bars if full else compute_plain_bars
    runs: dict[str, Run] = {"tapelab": lambda: compute(ticks, spec, _ALWAYS, _EVERY_TYPE)}
    if with_peers:
        runs |= _peers(ticks, spec)
        note += f"; {bars_agree(runs['tapelab'](), {name: runs[name]() for name in PEERS}, ticks, spec)}"
        if full:
            runs |= {f"{name} full": run for name, run in _peers(ticks, spec, full=True).items()}
    runs["floor"] = _reader(ticks, plain=not full)
    seconds = medians(runs, ROUNDS)
    rates = {name: round(ticks.n / took / 1e6, 3) for name, took in seconds.items()}
    others: dict[str, float | None] = dict.fromkeys(apart.PACKAGES)
    if with_peers:
        others, why = apart.rates(ticks, spec, peers_env)
        note = "; ".join(part for part in (note, why) if part)
        if full:
            note += "".join(f"; {name} with all fields {rates[f'{name} full']} M ticks/s" for name in PEERS)
    return {
        "work": work,
        "unit": "M ticks/s",
        "higher_is_better": True,
        "tapelab": rates["tapelab"],
        "peers": {name: rates.get(name) for name in PEERS} | others,
        "floor": rates["floor"],
        "note": f"{spec}, {ticks.n} prints; {note}" + _left_out(with_peers),
    }


def _stream_rows(spec: BarSpec, ticks: Ticks, *, with_peers: bool) -> list[dict[str, Any]]:
    """What one call with 512 prints costs, with a bar's plain fields as the peers compute them and with all of them.

    A turn is a run of calls, so that no contestant begins each call with another's code and data in the caches.
    """
    columns = [column.copy() for column in ticks.slice(0, max(min(STREAM_CHUNKS, ticks.n // CHUNK), 1) * CHUNK)]
    for column in columns:
        column.flags.writeable = False  # as the prints of a decoded record are
    tape = Ticks._make(columns)
    chunks = [(tape.slice(at, at + CHUNK), at) for at in range(0, tape.n, CHUNK)]
    plain, full = PlainBars(spec, _ALWAYS, _EVERY_TYPE), BarBuilder([spec], _ALWAYS, _EVERY_TYPE)
    python = PythonBars(spec.threshold)
    readers = [(_reader(chunk, plain=True), _reader(chunk)) for chunk, _ in chunks]
    runs = {
        "plain": _stepper(plain.update, plain.new_stream, chunks),
        "full": _stepper(full.update, full.new_stream, chunks),
        "python": _stepper(lambda chunk, _: python.update(chunk), lambda: None, chunks),
        "floor": _stepper(lambda _, at: readers[at // CHUNK][0](), lambda: None, chunks),
        "full floor": _stepper(lambda _, at: readers[at // CHUNK][1](), lambda: None, chunks),
    }
    figures = {name: took / CALLS * 1e6 for name, took in medians(runs, max(len(chunks) // CALLS, 1)).items()}
    if with_peers:
        figures |= {name: took * 1e6 for name, took in medians(_peers(chunks[0][0], spec), 50).items()}
    note = (
        f"median of {len(chunks) // CALLS} turns of {CALLS} calls; pandas and polars take one chunk and carry "
        "nothing; the floor is a call that reads the columns"
    )

    def row(work: str, ours: str, floor: str, says: str) -> dict[str, Any]:
        return {
            "work": work,
            "unit": "us/512 ticks",
            "higher_is_better": False,
            "tapelab": round(figures[ours], 3),
            "peers": {name: round(figures[name], 3) if name in figures else None for name in ("python", *PEERS)},
            "floor": round(figures[floor], 3),
            "note": f"{spec}, {says}; {note}" + _left_out(with_peers),
        }

    everything = "tapelab computes every field and carries its bars over, python (a plain class) the plain fields"
    return [
        row("volume_bars_stream_512", "plain", "floor", "tapelab and python (a plain class) carry their bars over"),
        row("volume_bars_full_stream_512", "full", "full floor", everything),
    ]


def _stepper(update: Callable[[Ticks, int], Any], begin: Run, chunks: list[tuple[Ticks, int]]) -> Run:
    """Some calls with the next chunks; from the first again, on a new stream, after the last."""
    position = 0

    def step() -> None:
        nonlocal position
        for _ in range(CALLS):
            if position == len(chunks):
                position = 0
                begin()
            update(*chunks[position])
            position += 1

    return step


def run(
    tape: str | None, *, with_peers: bool = True, peers_env: Path = apart.DEFAULT_FOLDER, install_peers: bool = False
) -> dict[str, Any]:
    """Measure the bar kernels and their peers over one tape.

    Args:
        tape: a file or folder in a known format, whose busiest symbol is used; None for the synthetic tape.
        with_peers: false leaves the peers out, whose extra may then be missing; their figures are null.
        peers_env: folder of the environments of NautilusTrader and mlfinpy; null figures where they are not there.
        install_peers: make those environments first.

    Returns:
        ``{bench, machine, rows}``; every row's figures are medians of one run over the same input.

    Raises:
        ConfigError: a peer is not installed, or its environment cannot be made.
        SourceError: the tape cannot be read.
        RuntimeError: a peer computes other bars, features or touches.
    """
    if with_peers:
        _check_peers()
    if install_peers:
        apart.install(peers_env)
    # Polars reads this once, when it is first imported.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    ticks, name = (synthetic_tape(), "synthetic tape") if tape is None else _read_tape(tape)
    lots = float(np.nansum(ticks.volume))
    dollars = float(np.nansum(ticks.volume * ticks.price))
    bars = max(ticks.n // PRINTS_PER_BAR, 1)
    volume = BarSpec("volume", float(round(lots / bars)) or lots / bars)
    dollar = BarSpec("dollar", float(round(dollars / bars)) or dollars / bars)
    plain = f"{name}; all compute OHLC, volume, dollar, vwap, counts and the sides' volumes"
    whole = f"{name}; tapelab computes every field of a bar, agents and trailing windows included, the peers plain bars"

    def batch(work: str, spec: BarSpec, note: str, *, full: bool = False) -> dict[str, Any]:
        return _batch_row(work, spec, ticks, note, full=full, with_peers=with_peers, peers_env=peers_env)

    return {
        "bench": "kernels",
        "machine": machine() | {"polars_threads": _polars_threads() if with_peers else None},
        "rows": [
            batch("tick_bars", BarSpec("tick", PRINTS_PER_BAR), plain),
            batch("volume_bars", volume, plain),
            batch("dollar_bars", dollar, plain),
            batch("volume_bars_full", volume, whole, full=True),
            *_stream_rows(volume, ticks, with_peers=with_peers),
            *kernels_scaling.rows(ticks, volume),
            *feature_rows(ROUNDS, with_peers=with_peers),
            *label_kernels.rows(with_peers=with_peers, peers_env=peers_env),
        ],
    }


def _polars_threads() -> int:
    import polars

    threads: int = polars.thread_pool_size()
    return threads
