r"""How likely is it that the best of several trials was chosen by luck?

Combinatorially symmetric cross-validation: the common history of the trials is cut into an even number of
blocks; for every choice of half of them the best trial there is looked up in the ranking of the other half.
The probability of backtest overfitting is the share of choices in which it does no better than the median.

Source: Bailey, Borwein, Lopez de Prado and Zhu, "The Probability of Backtest Overfitting" (2015).
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Overfitting(NamedTuple):
    """What CSCV says of a choice among trials.

    Args:
        pbo: probability of backtest overfitting; NaN where it does not apply.
        n_trials: trials compared.
        n_splits: choices of half the blocks.
        loss: share of choices in which the best trial has a negative ratio in the other half; NaN as above.
        reason: empty, or why it does not apply.
    """

    pbo: float
    n_trials: int
    n_splits: int
    loss: float
    reason: str


def overfitting_probability(returns: npt.NDArray[np.float64], *, n_blocks: int = 16) -> Overfitting:
    """PBO of keeping the trial with the highest Sharpe ratio.

    A trial whose returns do not vary in a half (it never traded) has a ratio of 0 there. Trials with equal
    ratios share their mean rank, so that copies of one trial show nothing but chance.

    Args:
        returns: of the same periods in time order, shape ``(n, n_trials)``, finite.
        n_blocks: even, in [2, 20]; all ``n_blocks`` choose ``n_blocks / 2`` halves are looked at.

    Returns:
        the probability; or "not applicable" with the reason for a single trial (there was no choice) and for
        fewer than two periods per block.

    Raises:
        ValueError: an odd number of blocks or one out of range, or values that are not finite.
    """
    if n_blocks % 2 or not 2 <= n_blocks <= 20:
        raise ValueError(f"n_blocks: expected an even number in [2, 20], got {n_blocks}")
    if returns.ndim != 2 or not np.isfinite(returns).all():
        raise ValueError(f"returns: expected finite values of shape (n, n_trials), got shape {returns.shape}")
    n, n_trials = returns.shape
    if n_trials < 2:
        return _not_applicable(n_trials, f"not applicable: {n_trials} trial, so nothing was chosen")
    if n < 2 * n_blocks:
        return _not_applicable(
            n_trials, f"not applicable: {n} common periods, at least {2 * n_blocks} are needed for {n_blocks} blocks"
        )
    ours, theirs = _halves(returns, n_blocks)
    best = np.argmax(ours, axis=1)
    out = theirs[np.arange(len(best)), best][:, None]
    below, equal = (theirs < out).sum(axis=1), (theirs == out).sum(axis=1)
    # The mean rank among equals, 1 .. n_trials; a relative rank of 1/2 or less is a logit of 0 or less.
    rank = below + (equal + 1) / 2
    overfitted = rank * 2 <= n_trials + 1
    return Overfitting(float(np.mean(overfitted)), n_trials, len(best), float(np.mean(out < 0.0)), "")


def _halves(returns: npt.NDArray[np.float64], n_blocks: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sharpe ratios in each choice of half the blocks, and in the other half; ``(n_splits, n_trials)`` both."""
    n = len(returns)
    scale = np.max(np.abs(returns), axis=0)
    # Ratios are free of scale; centred in units of it, sums of squares lose no digits to a large mean.
    scaled = returns / np.where(scale > 0.0, scale, 1.0)
    centre = scaled.mean(axis=0)
    centred = scaled - centre
    cuts = [n * b // n_blocks for b in range(n_blocks + 1)]
    length = np.diff(cuts).astype(np.float64)
    total = np.add.reduceat(centred, cuts[:-1], axis=0)
    squares = np.add.reduceat(centred**2, cuts[:-1], axis=0)
    chosen = np.zeros((math.comb(n_blocks, n_blocks // 2), n_blocks))
    for row, blocks in enumerate(itertools.combinations(range(n_blocks), n_blocks // 2)):
        chosen[row, list(blocks)] = 1.0

    def ratios(half: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        count = (half @ length)[:, None]
        mean = half @ total / count
        variance = np.maximum(half @ squares / count - mean**2, 0.0) * count / (count - 1.0)
        varies = variance > 1e-20
        ratio: npt.NDArray[np.float64] = np.where(varies, (mean + centre) / np.sqrt(np.where(varies, variance, 1)), 0)
        # Equal trials must tie, whatever the order in which a sum was taken.
        return np.round(ratio, 12)

    return ratios(chosen), ratios(1.0 - chosen)


def _not_applicable(n_trials: int, reason: str) -> Overfitting:
    return Overfitting(math.nan, n_trials, 0, math.nan, reason)
