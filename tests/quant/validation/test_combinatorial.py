"""Combinatorial purged cross-validation: skfolio's splits, no shared information, whole paths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.validation.combinatorial import (
    combinatorial_purged,
    n_paths,
    n_splits,
    outside,
    reconstruct_paths,
)

#: Of skfolio 1.12.2: CombinatorialPurgedCV(n_folds=6, n_test_folds=2, purged_size=1).split on 24 rows, the
#: first six splits' training rows; and get_path_ids() of all fifteen.
SKFOLIO_TRAIN = [
    [*range(9, 24)],
    [5, 6, *range(13, 24)],
    [*range(5, 11), *range(17, 24)],
    [*range(5, 15), 21, 22, 23],
    [*range(5, 19)],
    [0, 1, 2, *range(13, 24)],
]
SKFOLIO_PATHS = [
    (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (1, 1), (2, 1), (3, 1), (4, 1), (2, 2), (3, 2), (4, 2), (3, 3), (4, 3),
    (4, 4),
]  # fmt: skip


def every_second(n: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    start = np.arange(n, dtype=np.int64)
    return start, start + horizon


def test_splits_and_paths_are_those_of_skfolio() -> None:
    splits = combinatorial_purged(*every_second(24, 1), n_groups=6, n_test_groups=2, embargo_ns=0)
    assert [split.train.tolist() for split in splits[:6]] == SKFOLIO_TRAIN
    assert [split.paths for split in splits] == SKFOLIO_PATHS


# (groups, test groups, samples, horizon = purged_size, embargo) and, of skfolio 1.12.2, the numbers of splits
# and of paths, and the training rows of all splits together.
@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 2, 60, 2, 1), (15, 5, 500)),
        ((5, 3, 100, 3, 2), (10, 6, 304)),
        ((10, 8, 400, 5, 3), (45, 36, 2664)),
        ((10, 2, 300, 0, 4), (45, 9, 10512)),
    ],
)
def test_counts_are_those_of_skfolio(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    groups, tested, n, horizon, embargo = shape
    splits = combinatorial_purged(*every_second(n, horizon), n_groups=groups, n_test_groups=tested, embargo_ns=embargo)
    assert (len(splits), 1 + max(splits[-1].paths), sum(len(split.train) for split in splits)) == expected
    assert (n_splits(groups, tested), n_paths(groups, tested)) == expected[:2]


def overlapping(start: np.ndarray, end: np.ndarray, block: np.ndarray, embargo: int) -> np.ndarray:
    """The definition, pair by pair."""
    shared = (start[:, None] <= end[None, block] + embargo) & (end[:, None] >= start[None, block])
    return shared.any(axis=1)


samples = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40)), min_size=30, max_size=90)


@settings(max_examples=60, deadline=None)
@given(samples=samples, groups=st.integers(2, 6), embargo=st.integers(0, 20), tune=st.booleans(), data=st.data())
def test_nothing_learnt_from_shares_a_moment_with_what_is_tested(
    samples: list[tuple[int, int]], groups: int, embargo: int, tune: bool, data: st.DataObject
) -> None:
    start = np.array([s for s, _ in samples], np.int64)
    end = start + np.array([h for _, h in samples], np.int64)
    tested = data.draw(st.integers(1, groups - 1))
    try:
        splits = combinatorial_purged(start, end, n_groups=groups, n_test_groups=tested, embargo_ns=embargo, tune=tune)
    except ValueError:
        return  # refused, never split wrongly
    for split in splits:
        held = np.concatenate(split.tests)
        shared = overlapping(start, end, held, embargo)
        if tune:
            assert not shared[split.tune].any()
            last = max(set(range(groups)) - set(split.groups))
            whole = next(s.tests[s.groups.index(last)] for s in splits if last in s.groups)
            assert split.tune.tolist() == [row for row in whole if not shared[row]]
            shared |= overlapping(start, end, whole, embargo)
        # Exactly what overlaps is left out, no more and no less.
        assert split.train.tolist() == np.flatnonzero(~shared).tolist()


@settings(max_examples=50, deadline=None)
@given(samples=samples, embargo=st.integers(0, 30), cut=st.tuples(st.integers(0, 300), st.integers(1, 150)))
def test_a_block_of_time_is_purged_as_its_pairs_are(
    samples: list[tuple[int, int]], embargo: int, cut: tuple[int, int]
) -> None:
    start = np.array([s for s, _ in samples], np.int64)
    end = start + np.array([h for _, h in samples], np.int64)
    block = np.flatnonzero((start >= cut[0]) & (start < sum(cut)))
    if len(block):
        assert outside(start, end, block, embargo).tolist() == (~overlapping(start, end, block, embargo)).tolist()


def test_every_path_holds_every_sample_once_and_what_its_splits_predicted() -> None:
    start, end = every_second(53, 2)
    order = np.random.default_rng(1).permutation(53)
    splits = combinatorial_purged(start[order], end[order], n_groups=5, n_test_groups=2, embargo_ns=1)
    paths = reconstruct_paths(
        splits, [[np.full(len(rows), float(i)) for rows in split.tests] for i, split in enumerate(splits)], 53
    )
    assert paths.shape == (4, 53)
    for i, split in enumerate(splits):
        for rows, path in zip(split.tests, split.paths, strict=True):
            assert (paths[path, rows] == i).all()
    with pytest.raises(ValueError, match="missing or double"):
        reconstruct_paths(splits[:-1], [[np.zeros(len(rows)) for rows in s.tests] for s in splits[:-1]], 53)
    with pytest.raises(ValueError, match=r"expected \d+ predictions"):
        reconstruct_paths(splits, [[np.zeros(1) for _ in split.tests] for split in splits], 53)


def test_what_cannot_be_split_is_refused() -> None:
    start, end = every_second(40, 1)
    with pytest.raises(ValueError, match=r"n_test_groups in \[1, n_groups\)"):
        combinatorial_purged(start, end, n_groups=4, n_test_groups=4, embargo_ns=0)
    with pytest.raises(ValueError, match=r"n_groups - 1\)"):
        combinatorial_purged(start, end, n_groups=4, n_test_groups=3, embargo_ns=0, tune=True)
    with pytest.raises(ValueError, match="at most 10000 splits, got 184756"):
        combinatorial_purged(start, end, n_groups=20, n_test_groups=10, embargo_ns=0)
    with pytest.raises(ValueError, match="nothing to train on"):
        combinatorial_purged(start, start + 40, n_groups=4, n_test_groups=2, embargo_ns=0)
    with pytest.raises(ValueError, match="none before its start"):
        combinatorial_purged(end, start, n_groups=4, n_test_groups=2, embargo_ns=0)
    with pytest.raises(ValueError, match="at too few times"):
        combinatorial_purged(start * 0, start * 0, n_groups=4, n_test_groups=2, embargo_ns=0)
