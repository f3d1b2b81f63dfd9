"""What every runtime of a model can do."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from tapelab.common.errors import ModelMismatch

Matrix = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]


class BackendModel(Protocol):
    """A model loaded into one runtime. Not for several threads at once."""

    @property
    def n_features(self) -> int:
        """Columns it expects."""
        ...

    def scores(self, x: Matrix) -> Scores:
        """Scores, shape ``(n,)``, of C-contiguous rows of shape ``(n, n_features)``.

        Of a classifier the probability of up, of a regression the number it predicts.
        """
        ...


def unreadable(what: str, raw: bytes, reason: str) -> ModelMismatch:
    """The error of a model file that a runtime cannot load."""
    return ModelMismatch(
        f"a model file cannot be loaded by {what}",
        expected="a binary classifier or a regression as the trainer exports it",
        actual=f"{len(raw)} bytes; {reason}",
        remedy="export the model again (tapelab train) and promote it",
    )
