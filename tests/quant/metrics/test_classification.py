"""Figures of probabilities against scikit-learn, by hand, and where they are not defined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from tapelab.quant.metrics.classification import (
    auc,
    average_precision,
    brier,
    calibration_line,
    logloss,
    reliability,
)

# Few distinct scores give ties, and the ends are taken.
scored = st.lists(st.tuples(st.booleans(), st.integers(0, 12).map(lambda k: k / 12)), min_size=2, max_size=60)


@settings(max_examples=50, deadline=None)
@given(rows=scored)
def test_every_figure_is_that_of_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    up, score = np.array([u for u, _ in rows]), np.array([s for _, s in rows])
    assert logloss(up, score) == pytest.approx(log_loss(up, score, labels=[False, True]), rel=1e-12)
    assert brier(up, score) == pytest.approx(brier_score_loss(up, score, labels=[False, True]), rel=1e-12)
    if up.any():
        assert average_precision(up, score) == pytest.approx(average_precision_score(up, score), rel=1e-12)
    if up.any() and not up.all():
        assert auc(up, score) == pytest.approx(roc_auc_score(up, score), rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(rows=scored, seed=st.integers(0, 99))
def test_the_order_of_samples_says_nothing(rows: list[tuple[bool, float]], seed: int) -> None:
    up, score = np.array([u for u, _ in rows]), np.array([s for _, s in rows])
    order = np.random.default_rng(seed).permutation(len(up))
    assert auc(up, score) == auc(up[order], score[order]) or math.isnan(auc(up, score))
    if up.any():
        assert average_precision(up, score) == average_precision(up[order], score[order])


def test_reliability_bins_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    score = random.beta(2, 3, 2_000)
    up = random.random(2_000) < score**1.3
    bins = reliability(up, score, n_bins=10)
    happened, predicted = calibration_curve(up, score, n_bins=10, strategy="uniform")
    np.testing.assert_allclose(bins.happened, happened, rtol=1e-12)
    np.testing.assert_allclose(bins.predicted, predicted, rtol=1e-12)
    assert bins.n.sum() == 2_000
    assert bins.error == pytest.approx(np.average(np.abs(happened - predicted), weights=bins.n))


def test_reliability_by_hand() -> None:
    bins = reliability(np.array([False, True, True, True]), np.array([0.2, 0.4, 0.5, 1.0]), n_bins=2)
    assert bins.low.tolist() == [0.0, 0.5]
    assert bins.n.tolist() == [2, 2]
    assert bins.happened.tolist() == [0.5, 1.0]
    assert bins.error == pytest.approx((2 * 0.2 + 2 * 0.25) / 4)


@pytest.mark.parametrize("stretch", [0.3, 1.0, 2.5])
def test_the_calibration_line_is_an_unpenalised_logistic_regression(stretch: float) -> None:
    random = np.random.default_rng(2)
    odds = random.normal(0.2, 1.0, 3_000)
    up = random.random(3_000) < 1 / (1 + np.exp(-odds))
    score = 1 / (1 + np.exp(-(odds * stretch + 0.1)))
    found = calibration_line(up, score)
    oracle = LogisticRegression(C=1e12, tol=1e-10, max_iter=1_000).fit(np.log(score / (1 - score))[:, None], up)
    assert found.slope == pytest.approx(float(oracle.coef_[0, 0]), rel=1e-5)
    assert found.intercept == pytest.approx(float(oracle.intercept_[0]), abs=1e-5)
    assert found.slope * stretch == pytest.approx(1.0, abs=0.15)


def test_what_is_not_defined_is_nan() -> None:
    up, score = np.array([True, True]), np.array([0.2, 0.7])
    assert math.isnan(auc(up, score))
    assert math.isnan(average_precision(~up, score))
    nothing = np.empty(0)
    assert math.isnan(auc(nothing, nothing))
    assert math.isnan(logloss(nothing, nothing))
    assert math.isnan(brier(nothing, nothing))
    assert math.isnan(reliability(nothing, nothing).error)
    for outcome, given_ in [([1, 1], [0.2, 0.7]), ([0, 1], [0.5, 0.5]), ([0, 0, 1], [0.1, 0.2, 0.3])]:
        assert math.isnan(calibration_line(np.array(outcome, bool), np.array(given_)).slope)


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\], got 2"):
        auc(np.array([True, False, True]), np.array([0.5, 1.5, np.nan]))
    with pytest.raises(ValueError, match="one score per sample"):
        logloss(np.array([True]), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="n_bins"):
        reliability(np.array([True]), np.array([0.5]), n_bins=0)
