"""Sharpe ratios: by hand, against published figures, and undefined where they must be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tapelab.quant.validation.sharpe import (
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record_length,
    moments,
    probabilistic_sharpe,
    probabilistic_sharpe_of,
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


# Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (2012): 24 monthly returns of mean 3.6 % and
# standard deviation 7.9 %, skew -2.448, kurtosis 10.164.
HEDGE_FUND = 0.036 / 0.079


def test_the_probability_of_the_papers_hedge_fund() -> None:
    assert probabilistic_sharpe_of(HEDGE_FUND, 24) == pytest.approx(0.982, abs=1.5e-3)
    skewed = probabilistic_sharpe_of(HEDGE_FUND, 24, skew=-2.448, kurtosis=10.164)
    assert skewed == pytest.approx(0.913, abs=1e-3)


# The same paper, section on the minimum track record: an annualised ratio of 2 against 1 at 95 %.
@pytest.mark.parametrize(
    ("per_year", "skew", "kurtosis", "years"),
    [(250, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_track_record_lengths_of_the_paper(per_year: int, skew: float, kurtosis: float, years: float) -> None:
    root = math.sqrt(per_year)
    n = minimum_track_record_length(2 / root, skew=skew, kurtosis=kurtosis, benchmark=1 / root, confidence=0.95)
    assert n / per_year == pytest.approx(years, abs=0.006)


def test_a_record_of_the_minimum_length_has_just_the_confidence() -> None:
    shape = {"skew": -1.1, "kurtosis": 6.0, "benchmark": 0.02}
    n = minimum_track_record_length(0.1, confidence=0.9, **shape)
    assert (
        probabilistic_sharpe_of(0.1, math.floor(n), **shape) < 0.9 < probabilistic_sharpe_of(0.1, math.ceil(n), **shape)
    )


# Bailey and Lopez de Prado, "The Deflated Sharpe Ratio" (2014), numerical example: an annualised ratio of 2.5
# over 1,250 days of skew -3 and kurtosis 10, trials' annualised ratios of variance 1/2.
@pytest.mark.parametrize(
    ("n_trials", "skew", "kurtosis", "expected"),
    [(100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)],
)
def test_the_deflated_ratios_of_the_paper(n_trials: int, skew: float, kurtosis: float, expected: float) -> None:
    bar = expected_maximum_sharpe(n_trials, 0.5 / 250)
    if n_trials == 100:
        assert bar == pytest.approx(0.1132, abs=5e-5)
    found = probabilistic_sharpe_of(2.5 / math.sqrt(250), 1250, skew=skew, kurtosis=kurtosis, benchmark=bar)
    assert found == pytest.approx(expected, abs=1e-4)


def test_moments_are_those_of_scipy() -> None:
    x = np.random.default_rng(8).gamma(2.0, 1.0, 300)
    assert moments(x) == pytest.approx((stats.skew(x), stats.kurtosis(x, fisher=False)), rel=1e-12)


def test_no_record_is_long_enough_for_what_does_not_exceed_the_benchmark() -> None:
    assert minimum_track_record_length(0.1, benchmark=0.1) == math.inf
    assert math.isnan(minimum_track_record_length(math.nan))
    assert math.isnan(probabilistic_sharpe_of(0.5, 1))
    assert math.isnan(probabilistic_sharpe_of(2.0, 100, skew=5.0, kurtosis=3.0))
    with pytest.raises(ValueError, match=r"confidence: expected in \(0\.5, 1\), got 1\.0"):
        minimum_track_record_length(0.1, confidence=1.0)
