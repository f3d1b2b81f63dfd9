"""Latencies, fixed and drawn."""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.quant.backtest.fills import fills_after_latency
from tapelab.quant.backtest.latency import Latency

MEASURED = Latency.measured([5, 10, 40, 1_000], seed=3)


def test_a_fixed_latency_is_the_same_for_all() -> None:
    assert Latency.fixed(7).draw(3).tolist() == [7, 7, 7]


def test_draws_come_from_the_measured_ones_and_repeat() -> None:
    drawn = MEASURED.draw(4_000)
    assert drawn.tolist() == MEASURED.draw(4_000).tolist()
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [5, 10, 40, 1_000]
    assert (np.abs(counts - 1_000) < 150).all()
    assert Latency.measured([5, 10, 40, 1_000], seed=4).draw(50).tolist() != drawn[:50].tolist()


def test_more_bars_never_change_the_draws_before() -> None:
    whole = MEASURED.draw(1_000).tolist()
    for n in (0, 1, 2, 3, 999):
        assert MEASURED.draw(n).tolist() == whole[:n]


def test_every_bar_is_filled_after_its_own_latency() -> None:
    ticks, prices = np.array([10, 20, 30, 40], np.int64), np.array([1.0, 2.0, 3.0, 4.0])
    times, close = np.array([5, 5, 5], np.int64), np.full(3, 100, np.int64)
    assert fills_after_latency(times, ticks, prices, np.array([0, 5, 30]), close).tolist() == [1.0, 2.0, 4.0]
    with pytest.raises(ValueError, match=r"expected one, or shape \(3,\)"):
        fills_after_latency(times, ticks, prices, np.array([0, 5]), close)


@pytest.mark.parametrize("samples", [[], [5, -1]])
def test_impossible_latencies_are_refused(samples: list[int]) -> None:
    with pytest.raises(ValueError, match="expected at least one latency, none negative"):
        Latency.measured(samples)
