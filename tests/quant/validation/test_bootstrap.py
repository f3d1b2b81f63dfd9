"""The stationary bootstrap: its level under no effect, its power, its determinism."""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.quant.validation.bootstrap import stationary_bootstrap_mean_ci, stationary_bootstrap_sharpe_ci
from tapelab.quant.validation.sharpe import sharpe


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


def resamples(x: np.ndarray, seed: int, n_boot: int, mean_block: float) -> list[np.ndarray]:
    """The definition: walk on cyclically, restart at random with probability one over the mean block."""
    random = np.random.default_rng(seed)
    n = len(x)
    starts = random.integers(0, n, (n_boot, n), dtype=np.int64)
    restarts = random.random((n_boot, n)) < 1.0 / mean_block
    drawn = []
    for b in range(n_boot):
        rows: list[int] = []
        for i in range(n):
            rows.append(int(starts[b, i]) if i == 0 or restarts[b, i] else (rows[-1] + 1) % n)
        drawn.append(x[rows])
    return drawn


@pytest.mark.parametrize("offset", [0.1, 50.0, -3.0])
def test_intervals_are_quantiles_over_the_resamples_of_the_definition(offset: float) -> None:
    x = np.random.default_rng(9).standard_normal(80) * 1e-4 + offset * 1e-4
    drawn = resamples(x, 3, 200, 4.0)
    mean = stationary_bootstrap_mean_ci(x, seed=3, n_boot=200, mean_block=4.0)
    assert (mean.low, mean.high) == pytest.approx(np.quantile([d.mean() for d in drawn], (0.025, 0.975)), rel=1e-12)
    ratio = stationary_bootstrap_sharpe_ci(x, seed=3, n_boot=200, mean_block=4.0, level=0.9)
    assert ratio.ratio == sharpe(x)
    expected = np.quantile([sharpe(d) for d in drawn], (0.05, 0.95))
    assert (ratio.low, ratio.high) == pytest.approx(expected, rel=1e-9)


def test_the_interval_of_a_ratio_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(10)
    held = 0
    for i in range(300):
        found = stationary_bootstrap_sharpe_ci(random.normal(0.2, 1, 150), seed=i, n_boot=300, mean_block=2, level=0.9)
        held += found.low <= 0.2 <= found.high
    assert 0.84 < held / 300 < 0.95


def test_what_does_not_vary_has_no_interval() -> None:
    assert np.isnan(stationary_bootstrap_sharpe_ci(np.zeros(20), seed=0, mean_block=2)).all()
    assert np.isnan(stationary_bootstrap_sharpe_ci(np.ones(1), seed=0, mean_block=2)).all()
