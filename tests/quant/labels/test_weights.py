"""Events, volatility and weights follow the book and their references, and never look ahead."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.labels.events import cusum_events
from tapelab.quant.labels.reference_paths import (
    reference_attribution,
    reference_cusum,
    reference_ewm_volatility,
    reference_uniqueness,
)
from tapelab.quant.labels.volatility import ewm_volatility
from tapelab.quant.labels.weights import (
    average_uniqueness,
    concurrency,
    return_attribution,
    time_decay,
    to_mean_one,
)

seeds = st.integers(0, 2**32 - 1)


def closes_of(seed: int, n: int, *, wild: bool) -> Any:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, n)))
    if wild:
        close[rng.random(n) < 0.1] = rng.choice([np.nan, np.inf, 0.0, -1.0])
    return close, np.sort(rng.integers(0, 3, n)).astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(0, 80), st.booleans())
def test_volatility_agrees_with_the_reference(seed: int, n: int, wild: bool) -> None:
    close, day = closes_of(seed, n, wild=wild)
    expected = reference_ewm_volatility(close, day, half_life=9.0, minimum=4)
    np.testing.assert_array_equal(ewm_volatility(close, day, half_life=9.0, minimum=4), expected)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(0, 120), st.booleans())
def test_events_agree_with_the_reference(seed: int, n: int, wild: bool) -> None:
    close, day = closes_of(seed, n, wild=wild)
    threshold = np.random.default_rng(seed).uniform(1e-4, 4e-3, n)
    threshold[::7] = np.nan
    with np.errstate(all="ignore"):
        change = np.diff(np.log(np.where((close > 0) & np.isfinite(close), close, np.nan)), prepend=np.nan)
    assert cusum_events(close, day, threshold).tolist() == reference_cusum(change, day, threshold)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 119))
def test_the_future_changes_neither_volatility_nor_events(seed: int, cut: int) -> None:
    close, day = closes_of(seed, 120, wild=False)
    changed = close.copy()
    changed[cut:] *= 1.05
    for other in (changed, close[:cut]):
        days = day[: len(other)]
        before, after = ewm_volatility(close, day, minimum=3), ewm_volatility(other, days, minimum=3)
        np.testing.assert_array_equal(before[:cut], after[:cut])
        np.testing.assert_array_equal(
            cusum_events(close, day, 2.0 * before)[:cut], cusum_events(other, days, 2.0 * after)[:cut]
        )


def test_a_slow_rise_makes_events_and_a_quiet_swing_none() -> None:
    rise = 100.0 * np.exp(np.arange(10) * 0.01)
    day, limit = np.ones(10, np.int32), np.full(10, 0.025)
    assert cusum_events(rise, day, limit).tolist() == [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    assert cusum_events(rise[::-1].copy(), day, limit).tolist() == [0, 0, 0, -1, 0, 0, -1, 0, 0, -1]
    swing = 100.0 * np.exp(0.01 * (np.arange(10) % 2))
    assert not cusum_events(swing, day, limit).any()


def test_the_book_s_example_of_three_overlapping_labels() -> None:
    """Lopez de Prado (2018), table of section 4.5.3: an indicator matrix with uniqueness 5/6, 3/4 and 1."""
    first, last = np.array([0, 2, 4]), np.array([2, 3, 5])
    assert concurrency(first, last, 6).tolist() == [1, 1, 2, 1, 1, 1]
    np.testing.assert_allclose(average_uniqueness(first, last, 6), [5 / 6, 3 / 4, 1.0], rtol=1e-15)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 30), st.integers(1, 40))
def test_weights_agree_with_the_reference(seed: int, n: int, bars: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, bars, n)
    last = np.minimum(first + rng.integers(0, 12, n), bars - 1)
    ret = rng.normal(0.0, 1e-3, bars)
    ret[rng.random(bars) < 0.1] = np.nan
    assert average_uniqueness(first, last, bars).tolist() == reference_uniqueness(first, last)
    assert return_attribution(first, last, ret).tolist() == reference_attribution(first, last, ret)


@pytest.mark.parametrize(
    ("oldest", "expected"),
    [
        (1.0, [1.0, 1.0, 1.0, 1.0]),
        (0.5, [0.625, 0.75, 0.875, 1.0]),
        (0.0, [0.25, 0.5, 0.75, 1.0]),
        (-0.5, [0.0, 0.0, 0.5, 1.0]),
    ],
)
def test_decay_is_a_line_in_cumulated_uniqueness(oldest: float, expected: list[float]) -> None:
    np.testing.assert_allclose(time_decay(np.full(4, 0.5), oldest), expected, rtol=1e-15, atol=1e-15)


def test_weights_keep_a_mean_of_one() -> None:
    assert to_mean_one(np.array([1.0, 3.0])).tolist() == [0.5, 1.5]
    assert to_mean_one(np.zeros(2)).tolist() == [1.0, 1.0]
    assert time_decay(np.zeros(3), 0.5).tolist() == [1.0, 1.0, 1.0]
    assert len(to_mean_one(np.zeros(0))) == len(time_decay(np.zeros(0), 0.5)) == 0


def test_wrong_arguments_are_refused() -> None:
    one, day = np.ones(3), np.ones(3, np.int32)
    with pytest.raises(ValueError, match="thresholds above 0"):
        cusum_events(one, day, np.zeros(3))
    with pytest.raises(ValueError, match="per close"):
        cusum_events(one, day[:2], one)
    with pytest.raises(ValueError, match="half_life"):
        ewm_volatility(one, day, half_life=math.nan)
    with pytest.raises(ValueError, match="one day per close"):
        ewm_volatility(one, day[:2])
    with pytest.raises(ValueError, match=r"within 0\.\.2"):
        concurrency(np.array([0]), np.array([3]), 3)
    with pytest.raises(ValueError, match="one last bar"):
        concurrency(np.array([0]), np.array([1, 2]), 3)
    with pytest.raises(ValueError, match="oldest"):
        time_decay(one, -1.0)
    with pytest.raises(ValueError, match="uniqueness from 0"):
        time_decay(-one, 0.5)
    with pytest.raises(ValueError, match="weights from 0"):
        to_mean_one(-one)
