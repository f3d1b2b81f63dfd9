"""Copies of records as the plain bytes they are: numpy copies a structured array field by field, ten times slower."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def joined(pieces: Sequence[npt.NDArray[np.void]]) -> npt.NDArray[np.void]:
    """Records of one structured dtype, one piece after the other, copied; at least one piece, each contiguous."""
    dtype = pieces[0].dtype
    raw = [piece.view(np.uint8) for piece in pieces]
    together = raw[0].copy() if len(raw) == 1 else np.concatenate(raw)
    records: npt.NDArray[np.void] = np.ndarray(len(together) // dtype.itemsize, dtype, together)
    return records
