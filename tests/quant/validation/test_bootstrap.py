"""The stationary bootstrap: its level under no effect, its power, its determinism."""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.quant.validation.bootstrap import stationary_bootstrap_mean_ci


def test_a_clear_mean_is_found_and_its_interval_holds_it() -> None:
    x = np.random.default_rng(0).normal(0.3, 1.0, 400)
    result = stationary_bootstrap_mean_ci(x, seed=1, mean_block=5)
    assert result.low < x.mean() < result.high
    assert result.mean == x.mean()
    assert result.p_value < 0.001


def test_the_other_sign_is_as_surely_not_found() -> None:
    x = np.random.default_rng(0).normal(-0.3, 1.0, 400)
    assert stationary_bootstrap_mean_ci(x, seed=1, mean_block=5).p_value > 0.999


def test_independent_noise_is_refused_at_about_the_level() -> None:
    random = np.random.default_rng(4)
    hits = [
        stationary_bootstrap_mean_ci(random.normal(0, 1, 100), seed=i, n_boot=300, mean_block=2).p_value <= 0.05
        for i in range(400)
    ]
    assert 0.02 < np.mean(hits) < 0.09


def test_blocks_widen_the_interval_of_a_persistent_series() -> None:
    x = np.repeat(np.random.default_rng(5).standard_normal(60), 10)
    narrow = stationary_bootstrap_mean_ci(x, seed=1, mean_block=1)
    wide = stationary_bootstrap_mean_ci(x, seed=1, mean_block=20)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_same_seed_gives_the_same_result_and_another_one_another() -> None:
    x = np.random.default_rng(6).standard_normal(50)
    first = stationary_bootstrap_mean_ci(x, seed=1, mean_block=3)
    assert first == stationary_bootstrap_mean_ci(x, seed=1, mean_block=3)
    assert first != stationary_bootstrap_mean_ci(x, seed=2, mean_block=3)


def test_no_profit_at_all_is_no_evidence() -> None:
    assert stationary_bootstrap_mean_ci(np.zeros(30), seed=0, mean_block=3).p_value == 1.0
    assert stationary_bootstrap_mean_ci(np.empty(0), seed=0, mean_block=3).p_value == 1.0


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="mean_block >= 1"):
        stationary_bootstrap_mean_ci(np.ones(3), seed=0, mean_block=0.5)
    with pytest.raises(ValueError, match="expected finite values, got 1"):
        stationary_bootstrap_mean_ci(np.array([1.0, np.nan]), seed=0, mean_block=1)
