"""A normaliser that is fitted once, on the rows a model learns from, and then stays as it is.

It is the counterpart of the rolling ones: they forget and follow, this one holds values of all days against the
same figures, and belongs to the model instead of the feature set. It reads raw values (``NormaliserKind.RAW``).
Levels (``ZSCORE``) are centred; directions (``SCALE``) keep their sign and their zero; values that are bounded
anyway (``NONE``) stay as they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant.features.lanes import RELATIVE_FLOOR
from tapelab.quant.features.normalisers import NORMAL_IQR, NORMAL_MAD
from tapelab.quant.features.spec import Normalisation

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_QUARTILES: Final = (0.25, 0.5, 0.75)


class Scale(NamedTuple):
    """What each feature is held against.

    Args:
        centre: f64 ``(n_features,)``.
        spread: f64 ``(n_features,)``, positive; 0 where the rows do not vary, which makes every value 0.
    """

    centre: Floats
    spread: Floats


def fit_scale(x: Matrix, modes: Sequence[Normalisation], *, robust: bool = False) -> Scale:
    """Mean and standard deviation of a level, root mean square of a direction; 0 and 1 of what stays as it is.

    Args:
        x: raw values, finite, float32 ``(n, n_features)``, at least one row.
        modes: how each feature is normalised (``FeatureSpec.normalisation``).
        robust: median and interquartile range of a level, median size of a direction instead, as deviations of a
            normal distribution; quantiles are linear between neighbours (Hyndman and Fan's type 7).

    Raises:
        ValueError: no rows, shapes that disagree, or values that are not finite.
    """
    if x.ndim != 2 or not len(x) or x.shape[1] != len(modes):
        raise ValueError(f"expected rows of {len(modes)} features, got an array of shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"expected finite values, got {int((~np.isfinite(x)).sum())} that are not")
    centre, spread = np.zeros(len(modes)), np.ones(len(modes))
    for j, mode in enumerate(modes):
        if mode is Normalisation.NONE:
            continue
        column = x[:, j].astype(np.float64)
        level = mode is Normalisation.ZSCORE
        if robust:
            low, middle, high = np.quantile(column if level else np.abs(column), _QUARTILES)
            centre[j] = middle if level else 0.0
            spread[j] = (high - low) / NORMAL_IQR if level else middle / NORMAL_MAD
        else:
            centre[j] = column.mean() if level else 0.0
            spread[j] = np.sqrt(np.mean((column - centre[j]) ** 2))
        if not spread[j] > RELATIVE_FLOOR * abs(centre[j]):
            spread[j] = 0.0
    return Scale(centre, spread)


def apply_scale(
    x: Matrix, centre: Floats, spread: Floats, scaled: npt.NDArray[np.bool_], clip: float
) -> npt.NDArray[np.float32]:
    """``(x - centre) / spread`` in float64, kept within ``clip``, as float32; a row's bits are its own.

    Args:
        x: raw values, finite, float32 ``(n, n_features)``.
        centre, spread: f64 ``(n_features,)``, or one row for each of ``x``.
        scaled: bool ``(n_features,)``, false for features that stay as they come.
        clip: bound of a scaled value, positive.
    """
    varies = spread > 0.0
    away = (x.astype(np.float64) - centre) / np.where(varies, spread, 1.0)
    kept = np.where(varies, np.minimum(clip, np.maximum(-clip, away)), 0.0)
    return np.where(scaled, kept, x).astype(np.float32)
