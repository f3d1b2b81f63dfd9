"""Walk-forward splits by time, purged of samples whose labels reach into what they are judged on.

Source: Lopez de Prado, "Advances in Financial Machine Learning" (2018), chapter 7 (purging and embargo);
here applied to walk-forward, where training always lies before testing.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Mode = Literal["anchored", "rolling"]


class Fold(NamedTuple):
    """One fold: sample indices in ascending order, and the times that separate them.

    ``train`` starts before ``tune_start_ns``, ``tune`` in ``[tune_start_ns, test_start_ns)``, ``test`` in
    ``[test_start_ns, test_end_ns)``; sample labels of the earlier parts end before the later part begins.
    """

    train: npt.NDArray[np.intp]
    tune: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]
    tune_start_ns: int
    test_start_ns: int
    test_end_ns: int


class TuneSplit(NamedTuple):
    """A span cut in two: samples to fit on and, later in time, samples to tune on."""

    train: npt.NDArray[np.intp]
    tune: npt.NDArray[np.intp]
    tune_start_ns: int


def purged_walk_forward(
    ts_start_ns: npt.NDArray[np.int64],
    ts_end_ns: npt.NDArray[np.int64],
    *,
    n_folds: int,
    embargo_ns: int,
    mode: Mode = "anchored",
    min_train: float = 0.4,
    tune_fraction: float = 0.2,
    session: npt.NDArray[np.int32] | None = None,
) -> list[Fold]:
    """Split samples into consecutive test periods, each after its training span.

    Samples may come from several symbols in any order; the cuts are points in time, the same for all. The
    first ``min_train`` of the samples only train; the rest is cut into ``n_folds`` test periods of equal
    size. The last ``tune_fraction`` of a training span tunes (early stopping, thresholds). A sample is kept
    only where its label ends more than ``embargo_ns`` before the next part begins.

    With ``session`` whole sessions are counted and cut instead of samples, so that no part begins or ends
    within one. A session of one symbol may overlap another symbol's next one; then the cut is the first
    moment of the later session, and purging is by time as ever.

    Args:
        ts_start_ns: when each sample is known (its bar's close), shape ``(n,)``.
        ts_end_ns: when its label is known, >= ``ts_start_ns``.
        n_folds: test periods, >= 1.
        embargo_ns: gap between a label's end and the part that follows, >= 0.
        mode: ``anchored`` trains on everything before, ``rolling`` on a window as long in samples (sessions)
            as ``min_train``.
        min_train: share of the samples (sessions) before the first test period, in (0, 1).
        tune_fraction: share of a training span that tunes, in (0, 1).
        session: each sample's session in an order of time (a trading day YYYYMMDD), shape ``(n,)``.

    Raises:
        ValueError: an argument out of range, or a part of a fold that is left empty.
    """
    if n_folds < 1 or embargo_ns < 0 or not 0 < min_train < 1 or not 0 < tune_fraction < 1:
        raise ValueError(
            "expected n_folds >= 1, embargo_ns >= 0, min_train and tune_fraction in (0, 1), got "
            f"{n_folds}, {embargo_ns}, {min_train}, {tune_fraction}"
        )
    _check(ts_start_ns, ts_end_ns)
    ordered = _cut_points(ts_start_ns, session)
    n, n_samples = len(ordered), len(ts_start_ns)
    first_test = int(n * min_train)
    cuts = [first_test + (n - first_test) * k // n_folds for k in range(n_folds + 1)]
    if n <= cuts[-2] or first_test < 2:
        raise ValueError(f"expected {'samples' if session is None else 'sessions'} for {n_folds} folds, got {n}")
    bounds_ns = [int(ordered[cut]) for cut in cuts[:-1]] + [int(ts_start_ns.max()) + 1]
    folds = []
    for k in range(n_folds):
        begin = cuts[k] - first_test if mode == "rolling" else 0
        begin_ns, test_start_ns, test_end_ns = int(ordered[begin]), bounds_ns[k], bounds_ns[k + 1]
        inside = (ts_start_ns >= begin_ns) & (ts_start_ns < test_start_ns)
        before_test = inside & (ts_end_ns < test_start_ns - embargo_ns)
        span = ordered[(ordered >= begin_ns) & (ordered < test_start_ns)]
        train, tune, tune_start_ns = _split(ts_start_ns, ts_end_ns, span, before_test, tune_fraction, embargo_ns)
        test = np.flatnonzero((ts_start_ns >= test_start_ns) & (ts_start_ns < test_end_ns))
        for name, part in (("train", train), ("tune", tune), ("test", test)):
            if not len(part):
                raise ValueError(
                    f"fold {k + 1} of {n_folds} has no {name} samples: expected some of {n_samples}, "
                    f"got none after purging with an embargo of {embargo_ns} ns"
                )
        folds.append(Fold(train, tune, test, tune_start_ns, test_start_ns, test_end_ns))
    return folds


def purged_tune_split(
    ts_start_ns: npt.NDArray[np.int64],
    ts_end_ns: npt.NDArray[np.int64],
    *,
    embargo_ns: int,
    tune_fraction: float = 0.2,
    session: npt.NDArray[np.int32] | None = None,
) -> TuneSplit:
    """Cut a whole span for a final fit: its last ``tune_fraction`` tunes, purged like a fold.

    Args:
        session: as for :func:`purged_walk_forward`.

    Raises:
        ValueError: a part is left empty.
    """
    _check(ts_start_ns, ts_end_ns)
    inside = np.ones(len(ts_start_ns), bool)
    span = _cut_points(ts_start_ns, session)
    train, tune, tune_start_ns = _split(ts_start_ns, ts_end_ns, span, inside, tune_fraction, embargo_ns)
    if not len(train) or not len(tune):
        raise ValueError(f"expected samples to train and to tune, got {len(train)} and {len(tune)} after purging")
    return TuneSplit(train, tune, tune_start_ns)


def _split(
    ts_start_ns: npt.NDArray[np.int64],
    ts_end_ns: npt.NDArray[np.int64],
    span: npt.NDArray[np.int64],
    eligible: npt.NDArray[np.bool_],
    tune_fraction: float,
    embargo_ns: int,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], int]:
    """Train and tune indices of a training span with its cut points; ``eligible`` is what purging left of it."""
    if not len(span):
        none = np.empty(0, np.intp)
        return none, none, 0
    tune_start_ns = int(span[min(int(len(span) * (1.0 - tune_fraction)), len(span) - 1)])
    train = np.flatnonzero(eligible & (ts_end_ns < tune_start_ns - embargo_ns))
    tune = np.flatnonzero(eligible & (ts_start_ns >= tune_start_ns))
    return train, tune, tune_start_ns


def _cut_points(ts_start_ns: npt.NDArray[np.int64], session: npt.NDArray[np.int32] | None) -> npt.NDArray[np.int64]:
    """Times at which the samples may be cut, ascending: each sample's, or each session's first."""
    if session is None:
        return np.sort(ts_start_ns)
    if session.shape != ts_start_ns.shape:
        raise ValueError(f"session: expected shape {ts_start_ns.shape} like ts_start_ns, got {session.shape}")
    names, of_session = np.unique(session, return_inverse=True)
    first = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(first, of_session, ts_start_ns)
    # A cut before a session must also come before every later one that begins earlier elsewhere.
    return np.minimum.accumulate(first[::-1])[::-1]


def _check(ts_start_ns: npt.NDArray[np.int64], ts_end_ns: npt.NDArray[np.int64]) -> None:
    if ts_start_ns.shape != ts_end_ns.shape or not len(ts_start_ns):
        raise ValueError(f"expected samples with a start and an end, got {ts_start_ns.shape} and {ts_end_ns.shape}")
    if bool((ts_end_ns < ts_start_ns).any()):
        raise ValueError(
            f"expected labels that end after they start, got {int((ts_end_ns < ts_start_ns).sum())} before"
        )
