"""Meta-labels: given the side that another rule takes, was it right to take it?"""

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
