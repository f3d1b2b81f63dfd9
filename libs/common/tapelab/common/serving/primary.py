"""The first rule of a two-stage model: it takes a side, and the model says whether to follow it.

The rule reads one feature of the vector that the model is given, so that it decides live exactly as it did in
training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta


class PrimaryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sign of a feature, where its size passes a threshold; as the feature stands in the vector.

    Args:
        feature: its name in the feature set.
        threshold: what its size must exceed; at or below it the rule stays out.
        against: take the opposite side: a reversal instead of a momentum.
    """

    feature: Annotated[str, Meta(max_length=64)]
    threshold: Annotated[float, Meta(ge=0.0, le=1e9)] = 0.0
    against: bool = False

    def side(self, x: npt.NDArray[np.float32], names: Sequence[str]) -> npt.NDArray[np.int8]:
        """+1, -1, or 0 where it stays out, shape ``(n,)``.

        Args:
            x: feature vectors as the feature set gives them, float32 ``(n, n_features)``.
            names: of the columns; the rule's feature is one of them.
        """
        value = x[:, list(names).index(self.feature)].astype(np.float64)
        side = np.where(np.abs(value) > self.threshold, np.sign(value), 0.0).astype(np.int8)
        return -side if self.against else side
