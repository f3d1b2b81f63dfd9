"""Returns by score, hour and weekday: by hand, against pandas and scipy, and free of order."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tapelab.quant.metrics.trading import by_key, hit_rate, hour_of_day, return_by_score, weekday


def test_deciles_are_those_of_pandas() -> None:
    random = np.random.default_rng(1)
    score, ret = random.random(1_000), random.standard_normal(1_000)
    groups = return_by_score(score, ret)
    oracle = pd.Series(ret).groupby(pd.qcut(score, 10, labels=False)).agg(["size", "mean"])
    assert groups.n.tolist() == oracle["size"].tolist()
    np.testing.assert_allclose(groups.mean_return, oracle["mean"], rtol=1e-9)
    assert groups.low.tolist() == [score[pd.qcut(score, 10, labels=False) == k].min() for k in range(10)]


@settings(max_examples=60, deadline=None)
@given(scores=st.lists(st.integers(0, 8), min_size=1, max_size=80), n_groups=st.integers(1, 12), seed=st.integers(0, 9))
def test_equal_scores_stay_together_and_nothing_is_lost(scores: list[int], n_groups: int, seed: int) -> None:
    score = np.array(scores, float)
    random = np.random.default_rng(seed)
    ret = random.integers(-9, 9, len(score)).astype(float)
    groups = return_by_score(score, ret, n_groups=n_groups)
    assert groups.n.sum() == len(score)
    assert (np.diff(groups.low) > 0).all()
    edges = [*groups.low.tolist(), math.inf]
    for k, mean in enumerate(groups.mean_return):
        inside = (score >= edges[k]) & (score < edges[k + 1])
        assert inside.sum() == groups.n[k]
        assert mean == pytest.approx(ret[inside].mean())
    order = random.permutation(len(score))
    again = return_by_score(score[order], ret[order], n_groups=n_groups)
    assert again.low.tolist() == groups.low.tolist()


def test_a_score_that_is_always_the_same_makes_one_group() -> None:
    assert return_by_score(np.full(50, 0.5), np.arange(50.0)).n.tolist() == [50]
    assert len(return_by_score(np.empty(0), np.empty(0)).n) == 0


def test_slices_have_totals_and_the_t_of_scipy() -> None:
    random = np.random.default_rng(2)
    key, x = random.integers(0, 4, 200), random.standard_normal(200) + 0.2
    slices = by_key(key, x)
    assert slices.key.tolist() == [0, 1, 2, 3]
    for k in range(4):
        assert slices.total[k] == pytest.approx(x[key == k].sum())
        assert slices.t[k] == pytest.approx(stats.ttest_1samp(x[key == k], 0.0).statistic)
    assert by_key(np.array([1, 1, 5]), np.array([2.0, -1.0, -3.0])).positive == 0.5


def test_one_observation_or_equal_ones_have_no_t() -> None:
    slices = by_key(np.array([1, 2, 2]), np.array([1.0, 0.1, 0.1]))
    assert np.isnan(slices.t).all()
    assert math.isnan(by_key(np.empty(0, np.int64), np.empty(0)).positive)


@pytest.mark.parametrize("moment", ["2025-03-09 23:30", "2024-02-29 00:00", "1969-12-31 05:59", "2026-11-21 13:00"])
@pytest.mark.parametrize("hours", [0, -3])
def test_hours_and_weekdays_are_those_of_the_calendar(moment: str, hours: int) -> None:
    utc = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    ts = np.array([int(utc.timestamp()) * 10**9 + 7])
    local = utc + timedelta(hours=hours)
    offset = hours * 3_600 * 10**9
    assert (hour_of_day(ts, offset)[0], weekday(ts, offset)[0]) == (local.hour, local.weekday())


def test_hits_are_trades_that_earn() -> None:
    assert hit_rate(np.array([1.0, 0.0, -1.0, 2.0])) == 0.5
    assert math.isnan(hit_rate(np.empty(0)))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="one key per observation"):
        by_key(np.array([1]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="finite scores and returns"):
        return_by_score(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(ValueError, match="n_groups"):
        return_by_score(np.array([1.0]), np.array([1.0]), n_groups=0)
