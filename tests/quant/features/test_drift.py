"""Rolling figures stay exact: after ten million updates they are those of a fresh computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapelab.quant._numba import njit
from tapelab.quant.features.rolling import (
    moments_slots,
    pair_slots,
    push_decayed,
    push_max,
    push_moments,
    push_pair,
    push_sum,
    sum_slots,
)

UPDATES = 10_000_000
WINDOW = 50


@njit
def _run(x: Any, y: Any, window: int, sums: Any, moments: Any, pairs: Any, greatest: Any, decayed: Any) -> Any:
    last = np.zeros(3)
    for t in range(len(x)):
        last[0] = push_sum(sums, window, t, x[t])
        push_moments(moments, window, t, x[t])
        push_pair(pairs, window, t, x[t], y[t])
        last[1] = push_max(greatest, window, t, x[t])
        last[2] = push_decayed(decayed, 0.9, x[t])
    return last


@pytest.mark.slow
def test_ten_million_updates_leave_no_drift() -> None:
    rng = np.random.default_rng(4)
    # A level a million times the spread, and outliers of 1e12 long before the end.
    x = 1e6 + rng.normal(size=UPDATES)
    y = 0.5 * x + rng.normal(size=UPDATES)
    x[: UPDATES // 2 : 1000] *= 1e6
    slots = [np.zeros(size(WINDOW)) for size in (sum_slots, moments_slots, pair_slots, sum_slots)]
    total, greatest, decayed = _run(x, y, WINDOW, *slots, np.zeros(1))
    _, moments, pairs, _ = slots
    a, b = x[-WINDOW:].astype(np.longdouble), y[-WINDOW:].astype(np.longdouble)
    da, db = a - a.mean(), b - b.mean()
    assert total == pytest.approx(float(a.sum()), rel=1e-12)
    assert moments[2] == pytest.approx(float(a.mean()), rel=1e-12)
    assert moments[3] == pytest.approx(float(da @ da), rel=1e-9)
    assert pairs[4] == pytest.approx(float(da @ da), rel=1e-9)
    assert pairs[5] == pytest.approx(float(da @ db), rel=1e-9)
    assert greatest == x[-WINDOW:].max()
    weights = 0.9 ** np.arange(2_000)[::-1].astype(np.longdouble)
    assert decayed == pytest.approx(float(weights @ x[-2_000:]), rel=1e-12)
