"""Where a delayed order trades."""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.quant.backtest.fills import fills_after_latency

TICKS = np.array([10, 20, 20, 30, 50, 60], np.int64)
PRICES = np.array([1.0, 2.0, 2.5, 3.0, 5.0, 6.0])


def fills(ts: list[int], latency: int, close: int = 1_000) -> list[float]:
    times = np.array(ts, np.int64)
    return fills_after_latency(times, TICKS, PRICES, latency, np.full(len(ts), close, np.int64)).tolist()


def test_an_order_trades_at_the_first_print_strictly_after_it_arrives() -> None:
    assert fills([10, 20, 21], 0) == [2.0, 3.0, 3.0]
    assert fills([10, 20, 21], 10) == [3.0, 5.0, 5.0]


def test_an_order_is_never_filled_in_another_session() -> None:
    assert fills([30], 5, close=50) == [3.0]
    assert fills([30], 5, close=51) == [5.0]
    assert fills([60], 5) == [6.0]


def test_without_a_print_before_the_close_there_is_no_price() -> None:
    assert np.isnan(fills([5], 0, close=10)).all()
    none = np.empty(0, np.int64)
    assert np.isnan(fills_after_latency(TICKS, none, none.astype(float), 0, TICKS)).all()


def test_a_print_with_an_older_time_counts_as_seen_when_it_came() -> None:
    ticks = np.array([10, 40, 20, 50], np.int64)
    price = fills_after_latency(np.array([15]), ticks, np.array([1.0, 2.0, 3.0, 4.0]), 0, np.array([100]))
    assert price.tolist() == [2.0]


def test_a_negative_latency_is_refused() -> None:
    with pytest.raises(ValueError, match="expected >= 0, got -1"):
        fills([10], -1)
