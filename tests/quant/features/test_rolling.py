"""Rolling sums and moments equal those computed from scratch, and forget what has left."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.features.rolling import (
    finite,
    moments_slots,
    pair_slots,
    push_moments,
    push_pair,
    push_sum,
    ratio,
    share,
    sum_slots,
)

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=40), st.integers(1, 12))
def test_a_rolling_sum_is_the_sum_of_its_window(values: list[float], window: int) -> None:
    slots = np.zeros(sum_slots(window))
    for t, value in enumerate(values):
        total = push_sum(slots, window, t, value)
        assert total == pytest.approx(sum(values[max(0, t - window + 1) : t + 1]), rel=1e-12, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=40), st.integers(1, 12))
def test_rolling_moments_are_those_of_the_window(values: list[float], window: int) -> None:
    slots = np.zeros(moments_slots(window))
    for t, value in enumerate(values):
        push_moments(slots, window, t, value)
        recent = np.array(values[max(0, t - window + 1) : t + 1])
        assert slots[2] == pytest.approx(recent.mean(), rel=1e-9, abs=1e-6)
        assert slots[3] == pytest.approx(((recent - recent.mean()) ** 2).sum(), rel=1e-9, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40), st.integers(1, 12))
def test_rolling_co_moments_are_those_of_the_window(pairs: list[tuple[float, float]], window: int) -> None:
    slots = np.zeros(pair_slots(window))
    for t, (x, y) in enumerate(pairs):
        push_pair(slots, window, t, x, y)
        recent = np.array(pairs[max(0, t - window + 1) : t + 1])
        xs, ys = recent.T - recent.mean(axis=0)[:, None]
        assert slots[4] == pytest.approx(xs @ xs, rel=1e-9, abs=1e-2)
        assert slots[5] == pytest.approx(xs @ ys, rel=1e-9, abs=1e-2)


def test_an_outlier_leaves_no_trace_once_it_has_left_the_window() -> None:
    window, sums, moments = 8, np.zeros(sum_slots(8)), np.zeros(moments_slots(8))
    values = [1.0, 1e17, 3.0, *(float(i % 3) for i in range(30))]
    for t, value in enumerate(values):
        total = push_sum(sums, window, t, value)
        push_moments(moments, window, t, value)
    recent = np.array(values[-window:])
    assert total == recent.sum()
    assert moments[2] == pytest.approx(recent.mean(), rel=1e-15)
    assert moments[3] == pytest.approx(((recent - recent.mean()) ** 2).sum(), rel=1e-14)


def test_a_window_of_equal_values_has_exactly_no_variation() -> None:
    slots = np.zeros(moments_slots(7))
    for t in range(40):
        push_moments(slots, 7, t, 0.1)
        assert (slots[2], slots[3]) == (0.1, 0.0)


def test_quotients_are_always_finite() -> None:
    assert ratio(1.0, 0.0) == ratio(1.0, -1.0) == ratio(1.0, np.nan) == ratio(np.inf, 2.0) == 0.0
    assert ratio(1.0, 4.0) == 0.25
    assert share(9.0, 4.0) == 1.0
    assert share(-9.0, 4.0) == -1.0
    assert finite(np.nan) == finite(np.inf) == 0.0
