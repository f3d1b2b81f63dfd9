"""Every normaliser is what numpy makes of the same earlier values, and looks at nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant._numba import njit
from tapelab.quant.features import Normalisation, Normaliser, NormaliserKind
from tapelab.quant.features.lanes import SCRATCH, lane_slots, normalise_lanes, padded, place_table
from tapelab.quant.features.normalisers import normalised, normaliser_slots
from tapelab.quant.features.reference import normalised_series
from tapelab.quant.features.rolling import finite, push_moments

KINDS = pytest.mark.parametrize("kind", [kind for kind in NormaliserKind if kind is not NormaliserKind.RAW])
ZSCORE = int(Normalisation.ZSCORE)
MODES = pytest.mark.parametrize("mode", [Normalisation.ZSCORE, Normalisation.SCALE])


def run(values: Any, mode: Normalisation, normaliser: Normaliser) -> Any:
    if normaliser.kind is NormaliserKind.ROLLING:
        return run_lanes(values[:, None], [mode], [1], normaliser)[:, 0]
    slots = np.zeros(normaliser_slots(normaliser))
    n, kind, shape = normaliser, int(normaliser.kind), normaliser.shape
    return np.array(
        [normalised(v, slots, u, n.window, n.minimum, int(mode), kind, shape, n.clip) for u, v in enumerate(values)]
    )


def run_lanes(raw: Any, modes: Any, warmups: Any, normaliser: Normaliser, pieces: int = 1) -> Any:
    """The rolling normaliser over columns of a day, shape (n, K), warm-ups ascending; float64."""
    n, lanes, width = normaliser, padded(raw.shape[1]), raw.shape[1]
    warm = np.array([*warmups, *[1] * (lanes - width)])
    edges = np.array([*np.flatnonzero(np.diff(warm[:width], prepend=-1)), width])
    kinds = np.array([*(int(mode) for mode in modes), *[int(Normalisation.SCALE)] * (lanes - width)])
    state, scratch = np.zeros((lane_slots(n.window), lanes)), np.zeros((SCRATCH, lanes))
    table = place_table(warm, n.window, n.minimum)
    out, at, order = np.full(raw.shape, np.nan), 0, np.arange(width)
    for part in np.array_split(raw, pieces):
        rows = out[at : at + len(part)]
        normalise_lanes(
            part, at, order, order, kinds, edges, warm, table, n.window, n.minimum, n.clip, state, scratch, rows
        )
        at += len(part)
    return out


@njit
def one_by_one(values: Any, mode: int, window: int, minimum: int, clip: float) -> Any:
    """One column through ``push_moments``: what each lane is to equal bit for bit."""
    slots, out = np.zeros(4 + 2 * window), np.zeros(len(values))
    for u in range(len(values)):
        if u >= minimum:
            mean, variance = slots[2], slots[3] / min(u, window)
            centre = mean if mode == ZSCORE else 0.0
            spread = np.sqrt(variance if mode == ZSCORE else variance + mean * mean)
            if spread > 1e-9 * abs(centre):
                out[u] = min(clip, max(-clip, finite((values[u] - centre) / spread)))
        push_moments(slots, window, u, values[u])
    return out


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_lanes_are_single_columns_bit_for_bit(data: st.DataObject) -> None:
    window = data.draw(st.integers(1, 9))
    normaliser = Normaliser(window=window, minimum=data.draw(st.integers(1, window)))
    warmups = sorted(data.draw(st.lists(st.integers(1, 15), min_size=1, max_size=22)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    modes = rng.choice([int(Normalisation.ZSCORE), int(Normalisation.SCALE)], len(warmups))
    raw = rng.choice([1.0, -2.5, 0.0, -0.0, 1e6, np.nan, np.inf, 1e308, -1e308, 5e-324, 0.1], (70, len(warmups)))
    raw = np.where(rng.random(raw.shape) < 0.7, rng.normal(size=raw.shape), raw)
    got = run_lanes(raw, modes, warmups, normaliser, pieces=data.draw(st.integers(1, 70)))
    for j, warmup in enumerate(warmups):
        clean = np.where(np.isfinite(raw[warmup - 1 :, j]), raw[warmup - 1 :, j], 0.0)
        expected = one_by_one(clean, modes[j], window, normaliser.minimum, normaliser.clip)
        assert got[warmup - 1 :, j].tobytes() == expected.tobytes()
        assert not got[: warmup - 1, j].any()


@KINDS
@MODES
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_kernel_agrees_with_numpy(kind: NormaliserKind, mode: Normalisation, data: st.DataObject) -> None:
    window = data.draw(st.integers(2, 12))
    normaliser = Normaliser(kind=kind, window=window, minimum=data.draw(st.integers(1, window)), tail=0.1)
    # Few distinct values, so that ties are common; a huge one must leave no trace once it is gone.
    value = st.sampled_from([-3.0, -1.0, 0.0, 0.0, 1.0, 2.5, 7.0]) | st.floats(-10.0, 10.0).map(lambda v: round(v, 3))
    values = np.array(data.draw(st.lists(value, max_size=50)))
    expected = normalised_series(values, mode is Normalisation.ZSCORE, normaliser)
    np.testing.assert_allclose(run(values, mode, normaliser), expected, rtol=1e-7, atol=1e-7)


@KINDS
@MODES
def test_changing_the_future_never_changes_the_past(kind: NormaliserKind, mode: Normalisation) -> None:
    values = np.random.default_rng(1).normal(size=300)
    changed = np.concatenate([values[:200], 1e3 * values[200:]])
    normaliser = Normaliser(kind=kind, window=40, minimum=10)
    assert run(values, mode, normaliser)[:200].tobytes() == run(changed, mode, normaliser)[:200].tobytes()


@KINDS
def test_an_outlier_does_not_hide_in_its_own_statistics(kind: NormaliserKind) -> None:
    values = np.random.default_rng(2).normal(size=120)
    values[100] = 1e6
    got = run(values, Normalisation.ZSCORE, Normaliser(kind=kind))[100]
    bound = {NormaliserKind.RANK: 1.0, NormaliserKind.WINSOR: got}.get(kind, 5.0)
    assert got == bound > 0.99


@KINDS
@MODES
def test_values_that_do_not_vary_give_zero_for_a_level(kind: NormaliserKind, mode: Normalisation) -> None:
    got = run(np.full(80, 0.1), mode, Normaliser(kind=kind, window=20, minimum=5))
    assert not got[:5].any()
    if mode is Normalisation.ZSCORE:
        assert not got.any()


def test_the_exponential_one_is_pandas_ewm() -> None:
    values = np.random.default_rng(3).normal(size=400).cumsum()
    past = pd.Series(values).ewm(halflife=30)
    mean, deviation = past.mean().shift(), past.std(bias=True).shift()
    expected = ((values - mean) / deviation).clip(-5.0, 5.0).to_numpy()
    got = run(values, Normalisation.ZSCORE, Normaliser(kind=NormaliserKind.EWMA, window=30, minimum=10))
    np.testing.assert_allclose(got[10:], expected[10:], rtol=1e-9)


def test_the_robust_one_is_pandas_rolling_quantiles() -> None:
    values = np.random.default_rng(4).standard_t(3, size=400)
    past = pd.Series(values).rolling(60)
    iqr = (past.quantile(0.75) - past.quantile(0.25)).shift() / 1.3489795003921634
    expected = ((values - past.median().shift()) / iqr).clip(-5.0, 5.0).to_numpy()
    got = run(values, Normalisation.ZSCORE, Normaliser(kind=NormaliserKind.ROBUST, window=60, minimum=60))
    np.testing.assert_allclose(got[60:], expected[60:], rtol=1e-9)
