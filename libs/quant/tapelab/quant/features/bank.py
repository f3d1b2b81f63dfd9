"""Features of many symbols in one call."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant.day_context import DayContext, held_context, put_context
from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.features.kernel import STRETCH, advance
from tapelab.quant.features.lanes import SCRATCH
from tapelab.quant.features.plan import BASE, CATALOGUE, LAYOUT, extended, plan
from tapelab.quant.features.spec import FeatureSet

#: Layout of the state, feature set id, tick size.
_HEADER: Final = struct.Struct("<I16sd")


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

    def part(self, start: int, stop: int) -> FeatureRows:
        """Rows ``start`` to ``stop``, the second one exclusive."""
        return FeatureRows(self.values[start:stop], self.warm[start:stop], self.after_gap[start:stop])


class FeatureBank:
    """Carries the rolling state of any number of symbols under one feature set.

    State of a symbol is fresh at each new ``day`` and from a bar flagged ``AFTER_GAP``; rows do not depend on how
    bars are grouped into calls, nor on which other symbols come with them. Symbols are numbered from 0 in the order
    in which they were added.

    Args:
        feature_set: what to compute.

    Raises:
        ValueError: the set names a feature the kernel does not know.
    """

    def __init__(self, feature_set: FeatureSet) -> None:
        self._set = feature_set
        self._plan = plan(feature_set)
        self._extended = extended(feature_set) or None
        self._raw = np.zeros((STRETCH, len(CATALOGUE if self._extended else BASE)))
        self._scratch = np.zeros((SCRATCH, len(self._plan.modes)))
        self._symbols = 0
        # Room for more symbols than there are; the rest is filled by ``add``.
        self._tick_sizes = np.ones(1)
        self._states = np.zeros((1, self._plan.slots))

    @property
    def feature_set(self) -> FeatureSet:
        """What it computes."""
        return self._set

    def __len__(self) -> int:
        """How many symbols there are."""
        return self._symbols

    def add(self, tick_size: float, context: DayContext | None = None) -> int:
        """Take in a symbol and return its number.

        Args:
            tick_size: price units per tick.
            context: the days before its first bar; a set that reads none ignores it.

        Raises:
            ValueError: the tick size is not positive, or the context is of the wrong shape.
        """
        if not (tick_size > 0.0 and np.isfinite(tick_size)):
            raise ValueError(f"tick_size must be positive and finite, got {tick_size!r}")
        state = np.zeros(self._plan.slots)
        if context is not None and self._plan.slots > self._plan.context:
            put_context(context, state[self._plan.context :])
        number = self._symbols
        if number == len(self._states):
            self._tick_sizes = np.concatenate([self._tick_sizes, np.ones(number)])
            self._states = np.concatenate([self._states, np.zeros_like(self._states)])
        self._tick_sizes[number], self._states[number] = tick_size, state
        self._symbols += 1
        return number

    def context(self, symbol: int) -> DayContext | None:
        """The complete days a symbol holds; None for a set that reads none."""
        slots = self._states[symbol, self._plan.context :]
        return held_context(slots) if len(slots) else None

    def update(self, bars: npt.NDArray[np.void], symbols: npt.NDArray[np.int64]) -> FeatureRows:
        """Take the next bars and return one row for each.

        Args:
            bars: ``BAR_DTYPE``, shape (n,); each symbol's in order.
            symbols: number of each bar's symbol, shape (n,).

        Raises:
            ValueError: the array is not of ``BAR_DTYPE``, the lengths differ, or there is no such symbol.
        """
        if bars.dtype != BAR_DTYPE or bars.ndim != 1:
            raise ValueError(f"bars must be a vector of BAR_DTYPE, got shape {bars.shape} of {bars.dtype}")
        # One layout only, so that the kernel is compiled once.
        if not bars.flags.carray:
            bars = np.require(bars, requirements=["C", "A", "W"])
        if symbols.dtype != np.int64 or not symbols.flags.carray:
            symbols = np.require(symbols, dtype=np.int64, requirements=["C", "A", "W"])
        n = len(bars)
        if symbols.shape != (n,):
            raise ValueError(f"symbols must be of shape ({n},), one per bar, got {symbols.shape}")
        rows = FeatureRows(
            np.empty((n, len(self._set.specs)), dtype=np.float32),
            np.empty(n, dtype=np.bool_),
            np.empty(n, dtype=np.bool_),
        )
        tick_sizes, states = self._tick_sizes[: self._symbols], self._states[: self._symbols]
        if not advance(bars, symbols, tick_sizes, self._plan, self._extended, states, *rows, self._raw, self._scratch):
            raise ValueError(
                f"symbols must be numbers that add() returned, 0 to {self._symbols - 1}, got {symbols.min()} to "
                f"{symbols.max()}"
            )
        return rows

    def new_stream(self, symbol: int) -> None:
        """Forget everything of a symbol: its next bar begins a new stream."""
        self._states[symbol] = 0.0

    def snapshot(self, symbol: int) -> bytes:
        """A symbol's whole state: layout, feature set id, tick size, state vector, little-endian."""
        head = _HEADER.pack(LAYOUT, self._set.id.encode(), self._tick_sizes[symbol])
        state: bytes = self._states[symbol].astype("<f8").tobytes()
        return head + state

    def restore(self, symbol: int, blob: bytes) -> None:
        """Continue a symbol from a snapshot.

        Raises:
            ValueError: it is of another layout, feature set or tick size, or is cut short.
        """
        layout = int.from_bytes(blob[:4], "little")
        if layout != LAYOUT:
            raise ValueError(
                f"feature snapshot: expected layout {LAYOUT}, got {layout}; it cannot be converted, compute the bars "
                "again from the log"
            )
        expected = _HEADER.size + 8 * self._plan.slots
        if len(blob) != expected:
            raise ValueError(f"feature snapshot: expected {expected} bytes, got {len(blob)}")
        _, set_id, tick_size = _HEADER.unpack_from(blob)
        wanted = self._set.id, float(self._tick_sizes[symbol])
        if (set_id.decode(errors="replace"), tick_size) != wanted:
            raise ValueError(
                f"feature snapshot: expected set {wanted[0]} and tick size {wanted[1]!r}, got {set_id!r} and "
                f"{tick_size!r}"
            )
        self._states[symbol] = np.frombuffer(blob, "<f8", offset=_HEADER.size)
