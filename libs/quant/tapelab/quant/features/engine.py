"""Features of one symbol, bar by bar or a tape at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tapelab.quant.day_context import DayContext
from tapelab.quant.features.bank import FeatureBank, FeatureRows
from tapelab.quant.features.spec import FeatureSet


class FeatureEngine:
    """Carries the rolling state of one symbol's bars: a :class:`FeatureBank` of one.

    State is fresh at each new ``day`` and from a bar flagged ``AFTER_GAP``; rows do not depend on how bars
    are grouped into calls.

    Args:
        feature_set: what to compute.
        tick_size: price units per tick.
        context: the days before the first bar; a set that reads none ignores it.

    Raises:
        ValueError: the tick size is not positive, the set names a feature the kernel does not know, or the context
            is of the wrong shape.
    """

    def __init__(self, feature_set: FeatureSet, tick_size: float, context: DayContext | None = None) -> None:
        self._bank = FeatureBank(feature_set)
        self._bank.add(tick_size, context)

    @property
    def feature_set(self) -> FeatureSet:
        """What it computes."""
        return self._bank.feature_set

    @property
    def context(self) -> DayContext | None:
        """The complete days it holds; None for a set that reads none."""
        return self._bank.context(0)

    def update(self, bars: npt.NDArray[np.void]) -> FeatureRows:
        """Take the next bars in order (``BAR_DTYPE``, shape (n,)) and return one row for each.

        Raises:
            ValueError: the array is not of ``BAR_DTYPE``.
        """
        return self._bank.update(bars, np.zeros(bars.shape, dtype=np.int64))

    def new_stream(self) -> None:
        """Forget everything: the next bar begins a new stream."""
        self._bank.new_stream(0)

    def snapshot(self) -> bytes:
        """The whole state: see :meth:`FeatureBank.snapshot`."""
        return self._bank.snapshot(0)

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot.

        Raises:
            ValueError: it belongs to another layout, feature set or tick size, or is cut short.
        """
        self._bank.restore(0, blob)


def compute_features(
    bars: npt.NDArray[np.void], feature_set: FeatureSet, tick_size: float, context: DayContext | None = None
) -> FeatureRows:
    """Features of a whole tape of one symbol and stream: the same kernel as live, all rows in one call.

    Args:
        bars: ``BAR_DTYPE``, shape (n,), in order, any number of days.
        feature_set: what to compute.
        tick_size: price units per tick.
        context: the days before the first bar.

    Returns:
        Rows of shape (n, n_features), always finite.

    Raises:
        ValueError: see :class:`FeatureEngine`.
    """
    return FeatureEngine(feature_set, tick_size, context).update(bars)
