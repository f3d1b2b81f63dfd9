"""Figures of a regression against scikit-learn, scipy and plain numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import linregress, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from tapelab.quant.metrics.regression import mae, prediction_line, r2, r2_over_zero, rank_correlation, rmse

pairs = st.lists(
    st.tuples(st.integers(-50, 50).map(float), st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])),
    min_size=3,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_every_figure_is_scikit_learns_or_scipys(rows: list[tuple[float, float]]) -> None:
    truth, predicted = (np.array(column) for column in zip(*rows, strict=True))
    assert rmse(truth, predicted) == pytest.approx(root_mean_squared_error(truth, predicted), rel=1e-12)
    assert mae(truth, predicted) == pytest.approx(mean_absolute_error(truth, predicted), rel=1e-12)
    if np.ptp(truth):
        assert r2(truth, predicted) == pytest.approx(r2_score(truth, predicted), rel=1e-9, abs=1e-9)
    else:
        assert math.isnan(r2(truth, predicted))
    if np.ptp(truth) and np.ptp(predicted):
        assert rank_correlation(truth, predicted) == pytest.approx(spearmanr(truth, predicted).statistic, abs=1e-12)
        line = linregress(predicted, truth)
        assert prediction_line(truth, predicted) == pytest.approx((line.slope, line.intercept), rel=1e-9, abs=1e-9)
    else:
        assert math.isnan(rank_correlation(truth, predicted))
    if not np.ptp(predicted):
        assert math.isnan(prediction_line(truth, predicted).slope)


def test_the_share_beyond_a_forecast_of_zero_needs_no_mean() -> None:
    truth = np.array([1.0, 2.0, 3.0])
    assert r2_over_zero(truth, np.zeros(3)) == 0.0
    assert r2_over_zero(truth, truth) == 1.0
    assert r2_over_zero(truth, np.array([1.0, 1.0, 1.0])) == pytest.approx(1.0 - 5.0 / 14.0)
    assert r2(truth, np.full(3, 2.0)) == 0.0


def test_no_samples_define_nothing_and_what_is_not_finite_is_refused() -> None:
    nothing = np.empty(0)
    for figure in (rmse, mae, r2, r2_over_zero, rank_correlation):
        assert math.isnan(figure(nothing, nothing))
    assert math.isnan(prediction_line(nothing, nothing).slope)
    for truth in (np.array([1.0, math.nan]), np.array([1.0])):
        with pytest.raises(ValueError, match="expected"):
            rmse(truth, np.array([1.0, 2.0]))
