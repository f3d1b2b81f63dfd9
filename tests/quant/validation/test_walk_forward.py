"""Purging and embargo: no label of an earlier part reaches into a later one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.validation.walk_forward import Fold, purged_tune_split, purged_walk_forward


def every_second(n: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    start = np.arange(n, dtype=np.int64)
    return start, start + horizon


def test_folds_by_hand() -> None:
    start, end = every_second(100, 3)
    first, second = purged_walk_forward(start, end, n_folds=2, embargo_ns=0, min_train=0.4, tune_fraction=0.25)
    # Training span 0..39: tuning starts at 30, so labels of training end before 30; of tuning before 40.
    assert first.train.tolist() == list(range(27))
    assert first.tune.tolist() == list(range(30, 37))
    assert first.test.tolist() == list(range(40, 70))
    assert (first.tune_start_ns, first.test_start_ns, first.test_end_ns) == (30, 40, 70)
    assert second.test.tolist() == list(range(70, 100))
    assert second.train[0] == 0


def test_an_embargo_widens_both_gaps() -> None:
    start, end = every_second(100, 3)
    (fold,) = purged_walk_forward(start, end, n_folds=1, embargo_ns=2, min_train=0.4, tune_fraction=0.25)
    assert fold.train[-1] == 24
    assert fold.tune[-1] == 34


def test_a_rolling_window_forgets_the_oldest() -> None:
    start, end = every_second(100, 0)
    folds = purged_walk_forward(start, end, n_folds=3, embargo_ns=0, mode="rolling", min_train=0.4)
    assert [fold.train[0] for fold in folds] == [0, 20, 40]
    assert [fold.test[0] for fold in folds] == [40, 60, 80]


def test_a_label_that_ends_exactly_where_the_next_part_begins_is_purged() -> None:
    start, end = every_second(10, 1)
    (fold,) = purged_walk_forward(start, end, n_folds=1, embargo_ns=0, min_train=0.5, tune_fraction=0.4)
    assert fold.tune_start_ns == 3
    assert fold.train.tolist() == [0, 1]


samples = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 20)), min_size=60, max_size=150)


@settings(max_examples=100, deadline=None)
@given(samples=samples, n_folds=st.integers(1, 4), embargo=st.integers(0, 10), rolling=st.booleans())
def test_parts_never_overlap_in_time_whatever_the_samples(
    samples: list[tuple[int, int]], n_folds: int, embargo: int, rolling: bool
) -> None:
    start = np.array([s for s, _ in samples], np.int64)
    end = start + np.array([h for _, h in samples], np.int64)
    mode = "rolling" if rolling else "anchored"
    try:
        folds: list[Fold] = purged_walk_forward(start, end, n_folds=n_folds, embargo_ns=embargo, mode=mode)
    except ValueError:
        return  # too few samples left: refused, never split wrongly
    for before, after in itertools.pairwise(folds):
        assert before.test_end_ns == after.test_start_ns
    for fold in folds:
        assert end[fold.train].max() < start[fold.tune].min() - embargo
        assert end[fold.train].max() < start[fold.test].min() - embargo
        assert end[fold.tune].max() < start[fold.test].min() - embargo
        assert fold.test_start_ns <= start[fold.test].min() <= start[fold.test].max() < fold.test_end_ns
    tested = np.concatenate([fold.test for fold in folds])
    assert sorted(tested) == np.flatnonzero(start >= folds[0].test_start_ns).tolist()


def test_a_final_fit_keeps_its_last_part_for_tuning() -> None:
    start, end = every_second(100, 5)
    split = purged_tune_split(start, end, embargo_ns=1, tune_fraction=0.2)
    assert split.tune.tolist() == list(range(80, 100))
    assert split.train.tolist() == list(range(74))


def test_what_cannot_be_split_is_refused_with_the_part_that_is_empty() -> None:
    start, end = every_second(50, 1_000)
    with pytest.raises(ValueError, match=r"fold 1 of 2 has no train samples"):
        purged_walk_forward(start, end, n_folds=2, embargo_ns=0)
    with pytest.raises(ValueError, match="expected samples to train and to tune"):
        purged_tune_split(start, end, embargo_ns=0)
    with pytest.raises(ValueError, match="labels that end after they start"):
        purged_walk_forward(end, start, n_folds=2, embargo_ns=0)
    with pytest.raises(ValueError, match="n_folds >= 1"):
        purged_walk_forward(start, end, n_folds=0, embargo_ns=0)


def test_by_session_no_part_begins_or_ends_within_one() -> None:
    start = np.arange(100, dtype=np.int64)
    day = (20250101 + start // 10).astype(np.int32)
    folds = purged_walk_forward(
        start, start + 3, n_folds=3, embargo_ns=1, min_train=0.4, tune_fraction=0.25, session=day
    )
    # Ten days: four train and tune, then two, two and two are tested.
    assert [(fold.tune_start_ns, fold.test_start_ns, fold.test_end_ns) for fold in folds] == [
        (30, 40, 60),
        (40, 60, 80),
        (60, 80, 100),
    ]
    assert folds[0].train.tolist() == list(range(26))
    assert folds[0].tune.tolist() == list(range(30, 36))
    assert folds[0].test.tolist() == list(range(40, 60))
    split = purged_tune_split(start, start + 3, embargo_ns=1, tune_fraction=0.2, session=day)
    assert (split.tune_start_ns, split.train[-1]) == (80, 75)
    rolling = purged_walk_forward(start, start, n_folds=3, embargo_ns=0, min_train=0.4, mode="rolling", session=day)
    assert [fold.train[0] for fold in rolling] == [0, 20, 40]


def test_sessions_that_overlap_between_symbols_are_cut_where_the_later_one_first_begins() -> None:
    start = np.array([0, 5, 10, 15, 20, 25, 30, 35, 8, 18, 28, 38], np.int64)
    day = np.array([1, 1, 2, 2, 3, 3, 4, 4, 2, 3, 4, 5], np.int32)
    (fold,) = purged_walk_forward(start, start, n_folds=1, embargo_ns=0, min_train=0.4, tune_fraction=0.5, session=day)
    assert (fold.tune_start_ns, fold.test_start_ns) == (8, 18)
    assert max(start[fold.tune]) < 18


def test_too_few_sessions_are_counted() -> None:
    start = np.arange(100, dtype=np.int64)
    with pytest.raises(ValueError, match="expected sessions for 4 folds, got 2"):
        purged_walk_forward(start, start, n_folds=4, embargo_ns=0, session=(start // 50).astype(np.int32))
    with pytest.raises(ValueError, match="session: expected shape"):
        purged_walk_forward(start, start, n_folds=4, embargo_ns=0, session=np.zeros(3, np.int32))


@settings(max_examples=25, deadline=None)
@given(samples=samples, n_folds=st.integers(1, 3), embargo=st.integers(0, 10), length=st.integers(10, 60))
def test_by_session_parts_never_overlap_in_time_either(
    samples: list[tuple[int, int]], n_folds: int, embargo: int, length: int
) -> None:
    start = np.array([s for s, _ in samples], np.int64)
    end = start + np.array([h for _, h in samples], np.int64)
    session = (start // length).astype(np.int32)
    try:
        folds = purged_walk_forward(start, end, n_folds=n_folds, embargo_ns=embargo, session=session)
    except ValueError:
        return
    for fold in folds:
        assert end[fold.train].max() < start[fold.tune].min() - embargo
        assert end[fold.tune].max() < start[fold.test].min() - embargo
        assert not set(session[fold.test]) & (set(session[fold.train]) | set(session[fold.tune]))
        assert not set(session[fold.train]) & set(session[fold.tune])
