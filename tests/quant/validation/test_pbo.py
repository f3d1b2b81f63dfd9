"""The probability of backtest overfitting: against its definition, for luck, for skill, and where it does not apply."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.validation.pbo import overfitting_probability
from tapelab.quant.validation.sharpe import sharpe


def by_definition(returns: np.ndarray, n_blocks: int) -> tuple[float, float]:
    """CSCV as the paper words it, one combination at a time."""
    n, trials = returns.shape
    blocks = [returns[n * b // n_blocks : n * (b + 1) // n_blocks] for b in range(n_blocks)]

    def ratios(chosen: tuple[int, ...]) -> np.ndarray:
        half = np.concatenate([blocks[b] for b in chosen])
        return np.array([np.nan_to_num(sharpe(half[:, k])) for k in range(trials)]).round(9)

    overfitted, losses, count = 0, 0, 0
    for chosen in itertools.combinations(range(n_blocks), n_blocks // 2):
        ours = ratios(chosen)
        theirs = ratios(tuple(b for b in range(n_blocks) if b not in chosen))
        found = theirs[np.argmax(ours)]
        rank = (theirs < found).sum() + ((theirs == found).sum() + 1) / 2
        relative = rank / (trials + 1)
        overfitted += math.log(relative / (1 - relative)) <= 1e-12
        losses += found < 0
        count += 1
    return overfitted / count, losses / count


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(12, 40),
    trials=st.integers(2, 7),
    n_blocks=st.sampled_from([2, 4, 6]),
    idle=st.booleans(),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_the_fast_way_finds_what_the_definition_does(
    seed: int, n: int, trials: int, n_blocks: int, idle: bool, scale: float
) -> None:
    returns = (np.random.default_rng(seed).standard_normal((n, trials)) + 0.1) * scale
    if idle:
        returns[:, 0] = 0.0
    found = overfitting_probability(returns, n_blocks=n_blocks)
    assert (found.pbo, found.loss) == pytest.approx(by_definition(returns, n_blocks), abs=1e-12)
    assert found.n_splits == math.comb(n_blocks, n_blocks // 2)


def test_two_blocks_by_hand() -> None:
    # The first is better in the first half and worse in the second: whichever is chosen disappoints.
    returns = np.array([[3.0, 1.0], [4.0, -1.0], [-1.0, 2.0], [1.0, 3.0]])
    found = overfitting_probability(returns, n_blocks=2)
    assert (found.pbo, found.loss, found.n_splits) == (1.0, 0.0, 2)


def test_real_skill_is_no_overfitting_and_luck_is() -> None:
    noise = np.random.default_rng(11).standard_normal((640, 30))
    luck = overfitting_probability(noise, n_blocks=10)
    assert 0.2 < luck.pbo < 0.85
    noise[:, 7] += 0.5
    assert overfitting_probability(noise, n_blocks=10).pbo == 0.0


def test_copies_of_one_trial_show_nothing() -> None:
    one = np.random.default_rng(12).standard_normal(100)
    assert overfitting_probability(np.column_stack([one, one, one * 3.0]), n_blocks=8).pbo == 1.0


def test_one_trial_is_not_judged_and_told_so() -> None:
    found = overfitting_probability(np.ones((100, 1)))
    assert math.isnan(found.pbo)
    assert found.reason == "not applicable: 1 trial, so nothing was chosen"
    short = overfitting_probability(np.ones((31, 3)))
    assert short.reason == "not applicable: 31 common periods, at least 32 are needed for 16 blocks"


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="even number in"):
        overfitting_probability(np.ones((100, 2)), n_blocks=5)
    with pytest.raises(ValueError, match="finite values of shape"):
        overfitting_probability(np.full((100, 2), np.nan))
