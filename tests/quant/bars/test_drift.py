"""After ten million prints of one day, odd ones among them, trailing measures are those of a fresh computation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.dtypes import TICK_COLUMNS, TRAILING_WINDOWS
from tapelab.quant.ticks import Ticks
from tests.quant.bars.tapes import CALENDAR, MONDAY, TYPES

PRINTS = 10_000_000
CHUNK = 500_000
CHECKED = 300


def _chunk(rng: np.random.Generator, start: int, price: float) -> Ticks:
    length_ns = MONDAY.close_ns - MONDAY.open_ns
    at = np.arange(start, start + CHUNK)
    side = rng.choice([-1, 1], CHUNK)
    columns = {
        "ts_event_ns": MONDAY.open_ns + (at * (length_ns / PRINTS)).astype(np.int64),
        "price": np.round(price * np.exp(np.cumsum(rng.normal(0.0, 1e-5, CHUNK))), 2),
        "volume": rng.pareto(1.6, CHUNK) + 0.01,
        "aggressor": side,
        "trade_type": np.where(side > 0, 2, 3),
    }
    return Ticks(*(columns.get(name, np.zeros(CHUNK)).astype(dtype) for name, dtype in TICK_COLUMNS))


#: Prints that dwarf the others, early in the day: number to (volume, factor of the price).
ODD = {10_000: (1e9, 1.0), 20_000: (1e15, 1.0), 30_000: (1.0, 100.0), 40_000: (2.0**53, 0.01)}


@pytest.mark.slow
def test_trailing_measures_do_not_drift() -> None:
    rng = np.random.default_rng(11)
    builder = BarBuilder([BarSpec("tick", 997)], CALENDAR, TYPES)
    price = 1_000.0
    kept: list[Ticks] = []
    for start in range(0, PRINTS, CHUNK):
        kept = [*kept[-1:], _chunk(rng, start, price)]
        price = float(kept[-1].price[-1])
        for at, (volume, factor) in ODD.items():
            if start <= at < start + CHUNK:
                kept[-1].volume[at - start] = volume
                kept[-1].price[at - start] *= factor
        (bars,) = builder.update(kept[-1], start)
    recent = Ticks.concatenate(kept)
    first = PRINTS - recent.n
    returns = np.diff(np.log(recent.price), prepend=np.nan)
    for bar in bars[-CHECKED:]:
        stop = int(bar["last_tick_seq"]) + 1 - first
        for suffix, width_ns in TRAILING_WINDOWS:
            begin = int(np.searchsorted(recent.ts_event_ns, bar["ts_close_ns"] - width_ns, side="right"))
            volume = recent.volume[begin:stop]
            signed = volume * recent.aggressor[begin:stop]
            assert bar[f"n_{suffix}"] == stop - begin
            assert bar[f"ret_{suffix}"] == pytest.approx(math.log(bar["close"] / recent.price[begin]), rel=1e-12)
            assert bar[f"volume_{suffix}"] == pytest.approx(math.fsum(volume), rel=1e-9)
            assert bar[f"rv_{suffix}"] == pytest.approx(math.fsum(returns[begin:stop] ** 2), rel=1e-9)
            # Buys and sells cancel: relative to what was added up.
            assert abs(bar[f"signed_volume_{suffix}"] - math.fsum(signed)) <= 1e-9 * math.fsum(volume)
