"""Work ``backtest_ticks`` of ``tapelab bench backtest``: passive orders print by print against hftbacktest."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.cli.bench import backtest_hftbacktest
from tapelab.cli.bench.timing import medians
from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import CostModel
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.orders import OrderPolicy, passive_price
from tapelab.quant.backtest.print_engine import PrintBacktest, run_on_prints
from tapelab.quant.backtest.prints import prints_of

PRINTS: Final = 1_000_000
ROUNDS: Final = 5
SEED: Final = 20_240_612
TICK: Final = 5.0
LATENCY_NS: Final = 3_000_000
AHEAD: Final = 40.0
#: A decision every so many prints: an order, and its cancellation.
EVERY: Final = 25
_RUN_S: Final = 600.0
_COSTS: Final = CostModel(0.25, 0.0, 1.0, 0.25, TICK, 0.2)
#: Flags of hftbacktest's events: seen by exchange and trader, a change of the book or a trade, of a buyer or a seller.
_SEEN, _DEPTH, _TRADE, _BUY, _SELL = (1 << 31) | (1 << 30), 1, 2, 1 << 29, 1 << 28

_A = npt.NDArray[Any]


class Tape(NamedTuple):
    """Prints, and the book that they imply: one tick wide, ``AHEAD`` lots on every level."""

    ts: _A
    price: _A
    volume: _A
    side: _A
    feed: dict[str, _A]


@njit
def _walk(far: Any, side: Any, ts: Any, volume: Any, ticks: Any, ev: Any, at: Any, px: Any, qty: Any) -> int:
    """Prices of prints that are mostly at the best ones, and the feed with the book's changes; its length."""
    bid, rows = 30_000, 0
    for i in range(len(far)):
        ticks[i] = bid + 1 + far[i] if side[i] > 0 else bid - far[i]
        ev[rows], at[rows], px[rows], qty[rows] = _TRADE | (_BUY if side[i] > 0 else _SELL), ts[i], ticks[i], volume[i]
        rows += 1
        # Before the first print the book is made, afterwards it moves as far as the print went.
        for k in range(200 if i == 0 else 2 * far[i] + 1):
            if i == 0:
                level, buy, size = bid - 100 + 1 + k, k < 100, AHEAD
            elif far[i] == 0:
                break
            elif side[i] > 0:
                # Old asks go, then they are bids; the last is the new best ask.
                level, buy = bid + 1 + k if k < far[i] else bid + 1 + k - far[i], k >= far[i]
                size = 0.0 if k < far[i] else AHEAD
                if k == 2 * far[i]:
                    buy = False
            else:
                level, buy = bid - k if k < far[i] else bid - k + far[i], k < far[i]
                size = 0.0 if k < far[i] else AHEAD
                if k == 2 * far[i]:
                    buy = True
            ev[rows], at[rows], px[rows], qty[rows] = _DEPTH | (_BUY if buy else _SELL), ts[i], level, size
            rows += 1
        bid += far[i] * side[i]
    return rows


def tape(n: int, seed: int = SEED) -> Tape:
    """A seeded tape of n prints."""
    rng = np.random.default_rng(seed)
    ts = np.cumsum(rng.integers(1, 40, n)) * 10_000_000
    far = rng.choice([0, 0, 0, 0, 0, 0, 0, 0, 1, 2], n)
    side, volume = rng.choice([-1, 1], n), rng.integers(1, 9, n).astype(np.float64)
    ticks, room = np.empty(n, np.int64), 200 + 6 * n
    ev, at, px, qty = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room), np.empty(room)
    rows = _walk(far, side, ts, volume, ticks, ev, at, px, qty)
    feed = {"ev": ev[:rows] | np.uint64(_SEEN), "ts": at[:rows], "px": px[:rows] * TICK, "qty": qty[:rows]}
    return Tape(ts, ticks * TICK, volume, side, feed)


class Orders(NamedTuple):
    """Decisions on a tape, and the orders they make; all but ``rows`` and ``expected`` per order."""

    rows: _A
    expected: _A
    sent: _A
    side: _A
    limit: _A
    cancel: _A


def orders_on(some: Tape) -> Orders:
    """Every other decision sends an order, to buy and to sell in turn; the next one cancels it."""
    rows = np.arange(EVERY, len(some.ts) - EVERY, EVERY)
    rows = rows[: len(rows) // 2 * 2]
    enter, leave = rows[::2], rows[1::2]
    side = np.where(np.arange(len(enter)) % 2 == 0, 1, -1)
    limit = [
        passive_price(int(s), float(p), int(c), TICK, TICK)
        for s, p, c in zip(side, some.price[enter], some.side[enter], strict=True)
    ]
    return Orders(rows, np.repeat(side, 2).astype(float), some.ts[enter], side, np.array(limit), some.ts[leave])


def backtest(some: Tape, orders: Orders) -> PrintBacktest:
    """Ours, with fees, trades, equity and key figures; what was filled goes at the market at the cancellation."""
    rows, n = orders.rows, len(orders.rows)
    return run_on_prints(
        prints_of(some.ts, some.price, some.volume, some.side),
        rows,
        some.ts[rows],
        some.price[rows],
        np.ones(n),
        np.full(n, 1 << 60),
        np.arange(n) == n - 1,
        np.arange(n) % 2 == 0,
        orders.expected,
        DecisionParams(0.0, 0, 1 << 60, 0),
        _COSTS,
        1.0,
        policy=OrderPolicy(limit=True),
        latency_ns=LATENCY_NS,
        ahead=AHEAD,
    )


@njit
def _fused_read(ts: Any, price: Any, volume: Any, side: Any) -> int:
    """Touch every column once; whole numbers, so that it vectorises."""
    total = 0
    for i in range(len(ts)):
        total += ts[i] ^ price[i] ^ volume[i] ^ side[i]
    return total


def row(python: str, reason: str, folder: Path) -> dict[str, Any]:
    """One row of ``tapelab bench backtest``.

    Args:
        python: a Python that has hftbacktest, or empty with the reason why there is none.
        folder: where the tape is written for it.
    """
    some = tape(PRINTS)
    orders = orders_on(some)
    columns = some.ts, some.price.view(np.int64), some.volume.view(np.int64), some.side.astype(np.int64)
    seconds = medians(
        {"tapelab": lambda: backtest(some, orders), "floor": lambda: _fused_read(*columns)},
        ROUNDS,
    )
    done = backtest(some, orders)
    ours = np.unique(done.fills["sent_ts_ns"][done.fills["maker"] == 1])
    theirs, note = (None, reason) if reason else _measure(python, folder, some, orders, ours)
    rates = {name: round(PRINTS / took / 1e6, 3) for name, took in seconds.items()}
    return {
        "work": "backtest_ticks",
        "unit": "M prints/s",
        "higher_is_better": True,
        "tapelab": rates["tapelab"],
        "peers": {"hftbacktest": None if theirs is None else round(PRINTS / theirs / 1e6, 3)},
        "floor": rates["floor"],
        "note": f"{PRINTS} prints, {len(orders.sent)} passive orders behind {AHEAD:g} lots, {len(ours)} filled, "
        f"1 thread; from the tape's columns to fills, trades, equity and key figures; {note}",
    }


def _measure(python: str, folder: Path, some: Tape, orders: Orders, ours: _A) -> tuple[float | None, str]:
    """Median seconds of hftbacktest over the same orders, and what to note: whether it fills the same ones."""
    path = folder / "ticks.npz"
    asked: dict[str, Any] = {name: getattr(orders, name) for name in ("sent", "side", "limit", "cancel")}
    given: dict[str, Any] = {**some.feed, **asked, "tick": TICK, "latency": LATENCY_NS}
    np.savez(path, **given)
    words = [python, "-P", str(Path(backtest_hftbacktest.__file__)), str(path), str(ROUNDS)]
    one_thread = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_RUN_S, env={**os.environ, **one_thread}, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"hftbacktest did not run: {error}"
    if done.returncode:
        return None, f"hftbacktest did not run: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    told = json.loads(done.stdout.splitlines()[-1])
    apart = len(set(told["filled"]) ^ set(np.searchsorted(orders.sent, ours).tolist()))
    note = (
        f"hftbacktest {told['version']} is given the book that we estimate from prints "
        f"({len(some.feed['ts']) / PRINTS:.1f} events a print), orders and cancellations, and keeps no books; "
        f"{apart} orders filled by one alone"
    )
    return float(told["seconds"]), note
