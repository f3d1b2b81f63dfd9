"""Features of one symbol, bar by bar or a tape at once."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant.day_context import DayContext, held_context, put_context
from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.features.kernel import (
    BASE,
    CATALOGUE,
    DAY_LOCAL,
    advance,
    context_at,
    normalisers_at,
    state_slots,
)
from tapelab.quant.features.normalisers import normaliser_slots
from tapelab.quant.features.spec import FeatureSet

_HEADER: Final = struct.Struct("<16sd")


class FeatureRows(NamedTuple):
    """One row per bar.

    Args:
        values: float32, shape (n, n_features), finite; 0 where a feature is not defined yet.
        warm: bool, shape (n,): every feature is defined.
        after_gap: bool, shape (n,): true from a gap until warm again.
    """

    values: npt.NDArray[np.float32]
    warm: npt.NDArray[np.bool_]
    after_gap: npt.NDArray[np.bool_]


class FeatureEngine:
    """Carries the rolling state of one symbol's bars.

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
        if not (tick_size > 0.0 and np.isfinite(tick_size)):
            raise ValueError(f"tick_size must be positive and finite, got {tick_size!r}")
        known = {spec: column for column, spec in enumerate(CATALOGUE)}
        unknown = [spec.name for spec in feature_set.specs if spec not in known]
        if unknown:
            raise ValueError(f"feature set {feature_set.name} names features the kernel does not know: {unknown}")
        self._set = feature_set
        self._tick_size = float(tick_size)
        self._columns = np.array([known[s] for s in feature_set.specs], dtype=np.int64)
        self._modes = np.array(feature_set.modes, dtype=np.int64)
        self._warmups = np.array([s.warmup for s in feature_set.specs], dtype=np.int64)
        self._extended = bool((self._columns >= len(BASE)).any())
        seasonal = bool((self._columns >= len(DAY_LOCAL)).any())
        shape = len(feature_set.specs), feature_set.normaliser, self._extended
        self._context_at = context_at(*shape)
        self._state = np.zeros(state_slots(*shape, seasonal))
        if context is not None and seasonal:
            put_context(context, self._state[self._context_at :])

    @property
    def feature_set(self) -> FeatureSet:
        """What it computes."""
        return self._set

    @property
    def context(self) -> DayContext | None:
        """The complete days it holds; None for a set that reads none."""
        slots = self._state[self._context_at :]
        return held_context(slots) if len(slots) else None

    def update(self, bars: npt.NDArray[np.void]) -> FeatureRows:
        """Take the next bars in order (``BAR_DTYPE``, shape (n,)) and return one row for each.

        Raises:
            ValueError: the array is not of ``BAR_DTYPE``.
        """
        if bars.dtype != BAR_DTYPE or bars.ndim != 1:
            raise ValueError(f"bars must be a vector of BAR_DTYPE, got shape {bars.shape} of {bars.dtype}")
        # One layout only, so that the kernel is compiled once.
        bars = np.require(bars, requirements=["C", "A", "W"])
        n, normaliser = len(bars), self._set.normaliser
        rows = FeatureRows(
            np.empty((n, len(self._columns)), dtype=np.float32),
            np.empty(n, dtype=np.bool_),
            np.empty(n, dtype=np.bool_),
        )
        advance(
            bars,
            self._tick_size,
            self._columns,
            self._modes,
            self._warmups,
            self._set.warmup,
            normaliser.window,
            normaliser.minimum,
            normaliser.clip,
            int(normaliser.kind),
            normaliser.shape,
            normaliser_slots(normaliser),
            self._extended or None,
            normalisers_at(self._extended),
            self._context_at,
            self._state,
            *rows,
        )
        return rows

    def new_stream(self) -> None:
        """Forget everything: the next bar begins a new stream."""
        self._state[:] = 0.0

    def snapshot(self) -> bytes:
        """The whole state: feature set id, tick size, state vector, little-endian."""
        return _HEADER.pack(self._set.id.encode(), self._tick_size) + self._state.astype("<f8").tobytes()

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot.

        Raises:
            ValueError: it belongs to another feature set or tick size, or is cut short.
        """
        expected = _HEADER.size + self._state.nbytes
        if len(blob) != expected:
            raise ValueError(f"feature snapshot: expected {expected} bytes, got {len(blob)}")
        set_id, tick_size = _HEADER.unpack_from(blob)
        if (set_id.decode(errors="replace"), tick_size) != (self._set.id, self._tick_size):
            raise ValueError(
                f"feature snapshot: expected set {self._set.id} and tick size {self._tick_size!r}, "
                f"got {set_id!r} and {tick_size!r}"
            )
        self._state[:] = np.frombuffer(blob, "<f8", offset=_HEADER.size)


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
