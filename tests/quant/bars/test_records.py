"""Joined records are numpy's concatenation, and a copy."""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.quant.bars.records import joined
from tapelab.quant.dtypes import BAR_DTYPE


@pytest.mark.parametrize("sizes", [[0], [3], [2, 0, 5], [0, 0]])
def test_records_are_joined_in_order(sizes: list[int]) -> None:
    rng = np.random.default_rng(1)
    pieces = [np.frombuffer(rng.bytes(n * BAR_DTYPE.itemsize), BAR_DTYPE) for n in sizes]
    found = joined(pieces)
    assert found.dtype == BAR_DTYPE
    assert found.tobytes() == b"".join(piece.tobytes() for piece in pieces)
    assert found.flags.writeable
    assert not any(np.shares_memory(found, piece) for piece in pieces if len(piece))
