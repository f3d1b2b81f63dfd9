"""Sharpe ratios: by hand, against published figures, and undefined where they must be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tapelab.quant.validation.sharpe import (
    deflated_sharpe,
    expected_maximum_sharpe,
    probabilistic_sharpe,
    sharpe,
)


def test_a_ratio_by_hand() -> None:
    x = np.array([1.0, 2.0, 3.0])
    assert sharpe(x) == pytest.approx(2.0)
    assert sharpe(x, periods_per_year=252) == pytest.approx(2.0 * math.sqrt(252))


@pytest.mark.parametrize("x", [[], [1.0], [0.1, 0.1, 0.1], [0.0, 0.0]])
def test_what_does_not_vary_has_no_ratio(x: list[float]) -> None:
    assert math.isnan(sharpe(np.array(x)))
    assert math.isnan(probabilistic_sharpe(np.array(x)))
    assert math.isnan(deflated_sharpe(np.array(x), n_trials=10))


def test_a_mean_of_zero_is_as_likely_above_as_below() -> None:
    assert probabilistic_sharpe(np.array([-1.0, 1.0, -2.0, 2.0])) == pytest.approx(0.5)


def test_the_probability_follows_bailey_and_lopez_de_prado() -> None:
    x = np.random.default_rng(1).standard_t(4, 500) * 0.01 + 0.001
    ratio = x.mean() / x.std(ddof=1)
    z = (x - x.mean()) / x.std()
    spread = 1 - (z**3).mean() * ratio + ((z**4).mean() - 1) / 4 * ratio**2
    expected = 0.5 * (1 + math.erf(ratio * math.sqrt(499 / spread) / math.sqrt(2)))
    assert probabilistic_sharpe(x) == pytest.approx(expected)


def test_the_expected_maximum_matches_simulated_unskilled_trials() -> None:
    best = np.random.default_rng(2).standard_normal((20_000, 50)).max(axis=1).mean()
    assert expected_maximum_sharpe(50, 1.0) == pytest.approx(best, rel=0.02)


def test_more_trials_deflate_more_and_one_trial_not_at_all() -> None:
    x = np.random.default_rng(3).standard_normal(250) * 0.01 + 0.0015
    assert deflated_sharpe(x, n_trials=1) == probabilistic_sharpe(x)
    assert deflated_sharpe(x, n_trials=1) > deflated_sharpe(x, n_trials=10) > deflated_sharpe(x, n_trials=1_000)


def test_less_than_one_trial_is_refused() -> None:
    with pytest.raises(ValueError, match="expected >= 1, got 0"):
        deflated_sharpe(np.array([1.0, 2.0]), n_trials=0)
