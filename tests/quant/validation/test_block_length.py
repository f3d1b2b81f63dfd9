"""Automatic block lengths: closed forms, a published implementation, and what has no memory."""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.quant.validation.block_length import automatic_block_length


def autoregressive(phi: float, n: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(n)
    x = np.zeros(n)
    x[0] = noise[0]
    for i in range(1, n):
        x[i] = phi * x[i - 1] + noise[i]
    return x


@pytest.mark.parametrize("phi", [0.3, 0.5, 0.7])
def test_a_long_autoregressive_series_has_the_length_of_theory(phi: float) -> None:
    # Covariances phi^|k| give sum |k| R(k) / sum R(k) = 2 phi / (1 - phi^2).
    expected = (2 * phi / (1 - phi**2)) ** (2 / 3) * 50_000 ** (1 / 3)
    found = np.mean([automatic_block_length(autoregressive(phi, 50_000, seed)) for seed in range(3)])
    assert found == pytest.approx(expected, rel=0.2)


def test_a_persistent_series_has_the_length_arch_gives() -> None:
    # arch 8.0.0, optimal_block_length: 34.04895077 (stationary). It looks one lag further than the paper
    # before it stops; here both stop at the longest lag, so that the figures can be held together.
    assert automatic_block_length(autoregressive(0.9, 1000, 3)) == pytest.approx(34.04895077, abs=1e-8)


def test_it_is_free_of_scale_and_offset_and_within_its_bounds() -> None:
    x = autoregressive(0.6, 400, 9)
    found = automatic_block_length(x)
    assert found == pytest.approx(automatic_block_length(x * 1e-160 + 0.0))
    assert found == pytest.approx(automatic_block_length(x + 5.0), rel=1e-6)
    assert automatic_block_length(np.cumsum(np.ones(300))) <= 3 * np.sqrt(300)


@pytest.mark.parametrize("x", [[], [1.0] * 50, [0.0] * 50, [1.0, 2.0, 3.0]])
def test_what_does_not_vary_or_is_short_stands_alone(x: list[float]) -> None:
    assert automatic_block_length(np.array(x)) == 1.0


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="got 1 that are not"):
        automatic_block_length(np.array([1.0, np.inf]))
