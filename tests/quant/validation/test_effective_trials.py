"""The number of independent trials: exact at its ends, never optimistic in between."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from tapelab.quant.validation.effective_trials import MIN_SHARED, correlation_of, effective_trials
from tapelab.quant.validation.sharpe import expected_maximum_sharpe


def alike(n: int, rho: float) -> np.ndarray:
    return np.full((n, n), rho)


def test_copies_are_one_trial_and_strangers_all_of_them() -> None:
    assert effective_trials(1, np.empty((0, 0))) == 1.0
    assert effective_trials(10, alike(10, 1.0)) == 1.0
    assert effective_trials(10, alike(10, 0.0)) == 10.0
    assert effective_trials(10, alike(10, -0.1)) == 10.0
    assert effective_trials(100, alike(100, 0.5)) == pytest.approx(50.5)


def test_what_is_not_known_counts_as_a_trial_of_its_own() -> None:
    assert effective_trials(10, np.empty((0, 0))) == 10.0
    assert effective_trials(10, alike(5, math.nan)) == 10.0
    # Five copies among ten: 10 of 45 pairs correlate.
    assert effective_trials(10, alike(5, 1.0)) == pytest.approx(10 / 45 + (1 - 10 / 45) * 10)
    assert effective_trials(10, alike(5, 1.0)) > 6


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**31), st.integers(0, 20))
def test_it_lies_between_one_and_all_and_never_falls_when_less_is_known(n: int, seed: int, unknown: int) -> None:
    random = np.random.default_rng(seed)
    correlation = np.abs(np.corrcoef(random.normal(size=(n, 40)) + random.normal(size=40))).reshape(n, n)
    whole = effective_trials(n, correlation)
    assert 1.0 <= whole <= n
    for _ in range(unknown):
        i, j = random.integers(0, n, 2)
        correlation[i, j] = correlation[j, i] = math.nan
    assert effective_trials(n, correlation) >= whole - 1e-12
    shuffled = random.permutation(n)
    assert effective_trials(n, correlation[np.ix_(shuffled, shuffled)]) == pytest.approx(
        effective_trials(n, correlation)
    )


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.9])
def test_the_best_of_correlated_trials_is_no_luckier_than_that_of_so_many_independent_ones(rho: float) -> None:
    random, n = np.random.default_rng(8), 40
    common, own = random.normal(size=(20_000, 1)), random.normal(size=(20_000, n))
    best = (math.sqrt(rho) * common + math.sqrt(1.0 - rho) * own).max(axis=1).mean()
    assert best <= expected_maximum_sharpe(math.ceil(effective_trials(n, alike(n, rho))), 1.0)


def test_groups_of_copies_count_as_more_than_their_number() -> None:
    groups = np.kron(np.eye(4), np.ones((5, 5)))
    assert 4 < effective_trials(20, groups) < 20


def test_the_correlation_is_pearsons_and_unknown_where_there_is_little_to_see() -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=MIN_SHARED)
    y = x + random.normal(size=MIN_SHARED)
    assert correlation_of(x, y) == pytest.approx(pearsonr(x, y).statistic)
    assert correlation_of(x, 3.0 * x) == pytest.approx(1.0)
    assert math.isnan(correlation_of(x[1:], y[1:]))
    assert math.isnan(correlation_of(x, np.ones(MIN_SHARED)))


@pytest.mark.parametrize(
    ("n", "correlation"), [(0, np.empty((0, 0))), (1, alike(2, 0.0)), (3, np.zeros((2, 3))), (3, alike(3, 1.5))]
)
def test_what_makes_no_sense_is_refused(n: int, correlation: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        effective_trials(n, correlation)
