"""A fitted normaliser is what plain arithmetic makes of its rows, and treats every later row alike."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.features import Normalisation
from tapelab.quant.features.fitted import apply_scale, fit_scale

MODES = (Normalisation.ZSCORE, Normalisation.SCALE, Normalisation.NONE)
SCALED = np.array([mode is not Normalisation.NONE for mode in MODES])


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def reference(values: list[float], mode: Normalisation, robust: bool) -> tuple[float, float]:
    """Centre and spread of one column, in plain Python."""
    if mode is Normalisation.NONE:
        return 0.0, 1.0
    if mode is Normalisation.SCALE:
        sizes = [abs(value) for value in values]
        if robust:
            return 0.0, quantile(sizes, 0.5) / 0.6744897501960817
        return 0.0, math.sqrt(math.fsum(value * value for value in values) / len(values))
    if robust:
        wide = quantile(values, 0.75) - quantile(values, 0.25)
        return quantile(values, 0.5), wide / 1.3489795003921634
    return statistics.fmean(values), statistics.pstdev(values)


values = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 0.0, 1.0, -0.0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(values, values, values), min_size=1, max_size=40), st.booleans())
def test_the_fit_agrees_with_plain_arithmetic(rows: list[tuple[float, float, float]], robust: bool) -> None:
    x = np.array(rows, np.float32)
    centre, spread = fit_scale(x, MODES, robust=robust)
    for j, mode in enumerate(MODES):
        wanted = reference(x[:, j].astype(float).tolist(), mode, robust)
        assert centre[j] == pytest.approx(wanted[0], rel=1e-9, abs=1e-9)
        if spread[j]:
            assert spread[j] == pytest.approx(wanted[1], rel=1e-6, abs=1e-9)
        else:
            assert wanted[1] <= 1e-6 * max(1.0, abs(wanted[0]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(values, values, values), min_size=1, max_size=40), st.floats(0.5, 10.0))
def test_a_row_is_scaled_alike_alone_and_in_company(rows: list[tuple[float, float, float]], clip: float) -> None:
    x = np.array(rows, np.float32)
    scale = fit_scale(x[: len(x) // 2 + 1], MODES)
    whole = apply_scale(x, *scale, SCALED, clip)
    alone = np.concatenate([apply_scale(x[i : i + 1], *scale, SCALED, clip) for i in range(len(x))])
    assert whole.tobytes() == alone.tobytes()
    many = np.repeat(scale.centre[None, :], len(x), 0), np.repeat(scale.spread[None, :], len(x), 0)
    assert whole.tobytes() == apply_scale(x, *many, SCALED, clip).tobytes()
    assert np.isfinite(whole).all()
    assert (np.abs(whole[:, SCALED]) <= np.float32(clip)).all()
    assert whole[:, 2].tobytes() == x[:, 2].tobytes()


def test_scaled_training_rows_have_mean_0_and_deviation_1() -> None:
    x = np.random.default_rng(1).normal(3.0, 5.0, (2_000, 3)).astype(np.float32)
    out = apply_scale(x, *fit_scale(x, MODES), SCALED, 50.0).astype(float)
    assert out[:, 0].mean() == pytest.approx(0.0, abs=1e-6)
    assert out[:, 0].std() == pytest.approx(1.0, abs=1e-6)
    assert np.sqrt((out[:, 1] ** 2).mean()) == pytest.approx(1.0, abs=1e-6)
    assert (np.sign(out[:, 1]) == np.sign(x[:, 1])).all()


def test_what_does_not_vary_becomes_zero() -> None:
    x = np.full((50, 3), 0.1, np.float32)
    x[:, 1] = 0.0
    for robust in (False, True):
        scale = fit_scale(x, MODES, robust=robust)
        assert scale.spread.tolist() == [0.0, 0.0, 1.0]
        later = np.array([[7.0, 7.0, 7.0]], np.float32)
        assert apply_scale(later, *scale, SCALED, 5.0).tolist() == [[0.0, 0.0, 7.0]]


@pytest.mark.parametrize("x", [np.zeros((0, 3)), np.zeros((4, 2)), np.zeros(3), np.full((4, 3), np.nan)])
def test_what_cannot_be_fitted_is_refused(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        fit_scale(x.astype(np.float32), MODES)
