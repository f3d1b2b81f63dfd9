"""``ml.features.v1``: one feature vector per bar."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt


class FeatureVector(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The features at the close of one bar.

    ``seq`` is contiguous per symbol, stream and lineage. ``values`` are float32, little-endian, in the
    feature set's order. ``warm`` is false until every feature has its window filled; ``after_gap`` is
    true from a gap until warm again. ``ref_price`` is the bar's close; ``session_end`` marks the last
    vector of a session.
    """

    symbol: str
    exchange: str
    stream: int
    lineage: str
    bar_lineage: str
    seq: int
    bar_seq: int
    feature_set_id: str
    bar_spec: str
    ts_event_ns: int
    day: int
    session_close_ns: int
    ref_price: float
    values: bytes
    warm: bool
    after_gap: bool
    session_end: bool

    def array(self) -> npt.NDArray[np.float32]:
        """The values as a read-only view, shape ``(n_features,)``."""
        return np.frombuffer(self.values, "<f4")
