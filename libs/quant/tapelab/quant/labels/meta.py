"""Meta-labels: given the side that another rule takes, was it right to take it? And what that says of the price."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tapelab.quant.labels.fixed_horizon import Labels


def meta_labels(labels: Labels, side: npt.NDArray[np.int8]) -> Labels:
    """Labels of a bet: +1 where the side's return is above zero, -1 where it is not.

    A second model learns from them how far to trust the first one's side, and so how much to stake.

    Args:
        labels: outcomes over each span, their returns not multiplied by a side (``triple_barrier_bars`` takes
            the same ``side``, so that its stop is the bet's).
        side: +1 or -1 as the first rule decided at the bar's close, 0 where it stayed out; shape ``(n,)``.

    Returns:
        Labels; ``ret`` is what the side earned; rows without a side are not valid.

    Raises:
        ValueError: shapes disagree, or a side that is none of -1, 0, 1.

    Source: Lopez de Prado, "Advances in Financial Machine Learning" (2018), section 3.6.
    """
    if side.shape != labels.label.shape:
        raise ValueError(f"expected one side per label, got shapes {side.shape} and {labels.label.shape}")
    if not bool(np.isin(side, (-1, 0, 1)).all()):
        raise ValueError(f"expected sides -1, 0 or 1, got {np.unique(side)[:5].tolist()}")
    valid = labels.valid & (side != 0)
    ret = np.where(valid, labels.ret * side, np.nan)
    label = np.where(valid, np.where(ret > 0.0, 1, -1), 0).astype(np.int8)
    return Labels(label, ret, labels.ts_end_ns.copy(), valid)


def directed(probability: npt.NDArray[np.float64], side: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """From the probability that a side earns to a score of the price going up: 0.5 expects nothing.

    A side that is more likely to earn than not moves the score its way by as much; the others are skipped, never
    turned round.

    Args:
        probability: that taking the side earns, shape ``(n,)``.
        side: +1, -1 or 0, shape ``(n,)``.

    Raises:
        ValueError: shapes disagree.
    """
    if probability.shape != side.shape:
        raise ValueError(f"expected one side per probability, got shapes {probability.shape} and {side.shape}")
    gain = np.where(probability > 0.5, probability - 0.5, 0.0)
    score: npt.NDArray[np.float64] = 0.5 + side.astype(np.float64) * gain
    return score
