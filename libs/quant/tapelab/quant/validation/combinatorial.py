r"""Combinatorial purged cross-validation: many backtest paths from one history.

The samples are cut in time into :math:`N` groups; every choice of :math:`k` of them is tested once by a
model fitted on the others, which makes :math:`\binom{N}{k}` splits. Each group is tested
:math:`\binom{N-1}{k-1}` times, so that many whole paths can be put together, each of which predicts every
sample exactly once and out of sample.

Source: Lopez de Prado, "Advances in Financial Machine Learning" (2018), chapters 7 (purging, embargo) and 12.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

#: Every split is a fit: more of them are a mistake.
MAX_SPLITS: Final = 10_000

Rows = npt.NDArray[np.intp]


class CombinatorialSplit(NamedTuple):
    """One choice of test groups.

    Args:
        train: sample indices, ascending; purged against every test group and against ``tune``.
        tune: samples to tune on, from the last group that is not tested, purged against the test groups;
            empty where none were asked for.
        tests: samples of each test group, whole.
        groups: the test groups' numbers, ascending.
        paths: the path that each test group belongs to.
    """

    train: Rows
    tune: Rows
    tests: tuple[Rows, ...]
    groups: tuple[int, ...]
    paths: tuple[int, ...]


def n_splits(n_groups: int, n_test_groups: int) -> int:
    """Number of splits: ``n_groups`` choose ``n_test_groups``."""
    return math.comb(n_groups, n_test_groups)


def n_paths(n_groups: int, n_test_groups: int) -> int:
    """Number of whole paths: how often each group is tested."""
    return math.comb(n_groups - 1, n_test_groups - 1)


def outside(
    ts_start_ns: npt.NDArray[np.int64],
    ts_end_ns: npt.NDArray[np.int64],
    block: Rows,
    embargo_ns: int,
) -> npt.NDArray[np.bool_]:
    """Which samples share no information with a block of samples that lie together in time.

    A sample is outside where its label ends before the block begins, or where it begins more than
    ``embargo_ns`` after the last label of the block ended. Touching counts as overlapping.

    Args:
        ts_start_ns: when each sample is known, shape ``(n,)``.
        ts_end_ns: when its label is known.
        block: indices of samples, at least one: all that start within some span of time.
        embargo_ns: >= 0.
    """
    first, last = ts_start_ns[block].min(), ts_end_ns[block].max()
    kept: npt.NDArray[np.bool_] = (ts_end_ns < first) | (ts_start_ns > last + embargo_ns)
    return kept


def combinatorial_purged(
    ts_start_ns: npt.NDArray[np.int64],
    ts_end_ns: npt.NDArray[np.int64],
    *,
    n_groups: int,
    n_test_groups: int,
    embargo_ns: int,
    tune: bool = False,
) -> list[CombinatorialSplit]:
    """All splits, in lexicographic order of their test groups.

    Samples may come from several symbols in any order; the cuts are points in time, the same for all, and
    samples of one moment stay in one group.

    Args:
        ts_start_ns: when each sample is known, shape ``(n,)``.
        ts_end_ns: when its label is known, >= ``ts_start_ns``.
        n_groups: groups of about equal size, >= 2.
        n_test_groups: tested at a time, in [1, n_groups); with ``tune`` below ``n_groups - 1``.
        embargo_ns: after the last label of a held-out group, nothing that begins within it is learnt from.
        tune: hold out the last group that is not tested to tune on.

    Raises:
        ValueError: an argument out of range, or a part of a split that is left empty.
    """
    held = n_test_groups + int(tune)
    if n_groups < 2 or n_test_groups < 1 or held >= n_groups or embargo_ns < 0:
        raise ValueError(
            f"expected n_groups >= 2, n_test_groups in [1, n_groups{' - 1' if tune else ''}) and embargo_ns >= 0, "
            f"got {n_groups}, {n_test_groups} and {embargo_ns}"
        )
    if n_splits(n_groups, n_test_groups) > MAX_SPLITS:
        raise ValueError(
            f"expected at most {MAX_SPLITS} splits, got {n_splits(n_groups, n_test_groups)}: each is a fit; "
            "take fewer groups"
        )
    if ts_start_ns.shape != ts_end_ns.shape or bool((ts_end_ns < ts_start_ns).any()):
        raise ValueError("expected one label end per sample, none before its start")
    groups = _groups(ts_start_ns, n_groups)
    keeps = [outside(ts_start_ns, ts_end_ns, group, embargo_ns) for group in groups]
    tested = [0] * n_groups
    splits = []
    for chosen in itertools.combinations(range(n_groups), n_test_groups):
        kept = np.ones(len(ts_start_ns), bool)
        for group in chosen:
            kept &= keeps[group]
        tune_rows: Rows = np.empty(0, np.intp)
        if tune:
            last = max(group for group in range(n_groups) if group not in chosen)
            tune_rows = groups[last][kept[groups[last]]]
            if not len(tune_rows):
                raise ValueError(f"testing groups {chosen} leaves nothing to tune on: expected longer groups")
            kept &= keeps[last]
        train = np.flatnonzero(kept)
        if not len(train):
            raise ValueError(
                f"testing groups {chosen} of {n_groups} leaves nothing to train on after purging with an embargo "
                f"of {embargo_ns} ns: expected more samples, fewer groups or shorter labels, got {len(kept)} samples"
            )
        paths = tuple(tested[group] for group in chosen)
        for group in chosen:
            tested[group] += 1
        splits.append(CombinatorialSplit(train, tune_rows, tuple(groups[g] for g in chosen), chosen, paths))
    return splits


def reconstruct_paths(
    splits: Sequence[CombinatorialSplit], predictions: Sequence[Sequence[npt.NDArray[np.float64]]], n: int
) -> npt.NDArray[np.float64]:
    """Whole paths from what each split predicted for its test groups.

    Args:
        splits: all of :func:`combinatorial_purged`.
        predictions: for each split one array per test group, as long as the group.
        n: number of samples.

    Returns:
        shape ``(n_paths, n)``, every sample predicted once in every path.

    Raises:
        ValueError: a split is missing, or an array is not as long as its group.
    """
    paths = np.full((1 + max(max(split.paths) for split in splits), n), np.nan)
    filled = np.zeros(paths.shape, np.int64)
    for split, predicted in zip(splits, predictions, strict=True):
        for rows, path, values in zip(split.tests, split.paths, predicted, strict=True):
            if len(values) != len(rows):
                raise ValueError(f"expected {len(rows)} predictions of a group, got {len(values)}")
            paths[path, rows] = values
            filled[path, rows] += 1
    if not (filled == 1).all():
        raise ValueError(
            f"expected every sample once per path, got {int((filled != 1).sum())} that are missing or double: "
            "pass all splits"
        )
    return paths


def _groups(ts_start_ns: npt.NDArray[np.int64], n_groups: int) -> list[Rows]:
    ordered = np.sort(ts_start_ns)
    cuts = ordered[[len(ordered) * g // n_groups for g in range(1, n_groups)]] if len(ordered) else ordered
    of_group = np.searchsorted(cuts, ts_start_ns, side="right")
    groups = [np.flatnonzero(of_group == g) for g in range(n_groups)]
    if any(not len(group) for group in groups):
        raise ValueError(f"expected samples in each of {n_groups} groups, got {len(ordered)} samples at too few times")
    return groups
