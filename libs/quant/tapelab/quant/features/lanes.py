"""The rolling normaliser of all features of a set at once: one lane per feature, side by side in memory.

The arithmetic is that of :func:`~tapelab.quant.features.rolling.push_moments`, lane by lane and bit for bit; what
differs is the layout. State is rows of one float per lane (mean and sum of squared deviations of the current block,
then a ring of values and tail means, then a ring of tail sums), so that every step is a loop over neighbours in
memory, which the compiler turns into vector instructions.

Features become defined at different bars, so their blocks of one window begin at different bars too. The rings are
therefore turned by the day's bars, the same for all lanes, and each lane has its own place in its block; lanes of
one warm-up form a group, whose blocks end together.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import Slots, finite
from tapelab.quant.features.spec import Normalisation

Rows = npt.NDArray[np.float64]
Cube = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Lanes come in multiples of this, so that no loop ends in single steps; the ones that fill up hold zeros.
WIDTH: Final = 4
#: A spread this small against the mean is rounding, not variation.
RELATIVE_FLOOR: Final = 1e-9
_ZSCORE: Final = int(Normalisation.ZSCORE)
_RING: Final = 2
#: Rows of scratch.
SCRATCH: Final = 6
#: Lanes from which vector instructions pay for a group.
_WIDE: Final = 8


def padded(features: int) -> int:
    """Lanes that so many features take."""
    return -(-features // WIDTH) * WIDTH


def lane_slots(window: int) -> int:
    """Floats that one lane carries."""
    return _RING + 2 * window


@leaf
def normalise_lanes(
    raw: Rows,
    t: int,
    columns: Integers,
    targets: Integers,
    modes: Integers,
    edges: Integers,
    warmups: Integers,
    places: Cube,
    window: int,
    minimum: int,
    clip: float,
    state: Rows,
    scratch: Rows,
    out: npt.NDArray[np.float32],
) -> None:
    """Scale each lane's values by those before them, and take them into the statistics, bar by bar.

    A value is 0 where there are fewer than ``minimum`` before it, or they do not vary.

    Args:
        raw: raw values of n bars, shape (n, columns); not finite ones count as 0.
        t: bars of the day before them.
        columns: where each lane's values stand in a row, shape (K,), K <= L; the other lanes fill up.
        targets: where they go to, shape (K,).
        modes: ``Normalisation`` of each lane, shape (L,).
        edges: first lane of each group, and the end of the last, K, shape (G + 1,).
        warmups: bars from which each lane is defined, shape (L,); the same throughout a group.
        places: see :func:`place_table`.
        window: values the statistics hold.
        minimum: earlier values they need.
        clip: bound of a scaled value.
        state: shape (lane_slots(window), L), zero at the day's start.
        scratch: shape (SCRATCH, L), zero before the first call.
        out: scaled values, shape (n, F).
    """
    values, scaled, zeros = scratch[0], scratch[1], scratch[5]
    # From here on every lane has filled its window; warm-ups ascend.
    full = window + (warmups[len(columns) - 1] if len(columns) > 0 else 0)
    means, squares = state[0], state[1]
    for i in range(len(out)):
        source = raw[i]
        for j in range(len(columns)):
            values[j] = finite(source[columns[j]])
        at = (t + i) % window
        ring, tails = state[_RING + at], state[_RING + window + at]
        weights, crosses, counts = places[at, 0], places[at, 1], places[at, 2]
        if t + i < full:
            weights, crosses, counts = scratch[2], scratch[3], scratch[4]
            put_places(t + i, warmups, window, minimum, weights, crosses, counts)
        _scale(values, means, squares, ring, tails, weights, crosses, modes, float(window), clip, scaled)
        for g in range(len(edges) - 1):
            first, last = edges[g], edges[g + 1]
            if counts[first] == 1.0:
                if t + i >= warmups[first]:
                    _close_block(state, at, first, last, window, zeros)
                means[first:last] = 0.0
                squares[first:last] = 0.0
        _push(values, means, squares, counts)
        for j in range(len(ring)):
            ring[j] = values[j]
        row = out[i]
        for j in range(len(columns)):
            row[targets[j]] = scaled[j]


@leaf
def put_places(
    t: int, warmups: Integers, window: int, minimum: int, weights: Slots, crosses: Slots, counts: Slots
) -> None:
    """Where each lane's value at the day's ``t``-th bar stands in its block.

    ``weights`` and ``crosses`` are what :func:`_scale` merges block and tail by; where the block is all there is, its
    length, negative, stands in ``crosses``, and NaN where there is too little. ``counts`` is the place, from 1.
    """
    for j in range(len(warmups)):
        # Values of the lane before this one.
        u = t + 1 - warmups[j]
        head = u % window
        counts[j] = head + 1.0
        weights[j] = head / window
        crosses[j] = (window - head) * weights[j]
        if head == 0 or u < window:
            crosses[j] = -float(min(u, window))
        if u < minimum:
            crosses[j] = np.nan


def place_table(warmups: Integers, window: int, minimum: int) -> Cube:
    """:func:`put_places` of every place in the ring, once all lanes have filled their windows, shape (W, 3, L)."""
    table = np.zeros((window, 3, len(warmups)))
    full = (int(warmups.max(initial=0)) // window + 2) * window
    for at in range(window):
        put_places(full + at, warmups, window, minimum, *table[at])
    return table


@leaf
def _scale(
    values: Slots,
    means: Slots,
    squares: Slots,
    tail_means: Slots,
    tail_squares: Slots,
    weights: Slots,
    crosses: Slots,
    modes: Integers,
    window: float,
    clip: float,
    out: Slots,
) -> None:
    """The values against mean and deviation, winsorised; 0 where there is no variation.

    The current block is merged with the tail of the one before (Chan, Golub & LeVeque 1983) as
    :func:`put_places` says.
    """
    for j in range(len(values)):
        alone = crosses[j] < 0.0
        gap = means[j] - tail_means[j]
        mean = means[j] if alone else tail_means[j] + gap * weights[j]
        square = squares[j] if alone else squares[j] + tail_squares[j] + gap * gap * crosses[j]
        variance = square / (-crosses[j] if alone else window)
        level = modes[j] == _ZSCORE
        centre = mean if level else 0.0
        spread = np.sqrt(variance if level else variance + mean * mean)
        scaled = (values[j] - centre) / spread
        scaled = scaled if abs(scaled) < np.inf else 0.0
        known = spread > RELATIVE_FLOOR * abs(centre) and crosses[j] == crosses[j]
        out[j] = min(clip, max(-clip, scaled)) if known else 0.0


@leaf
def _push(values: Slots, means: Slots, squares: Slots, counts: Slots) -> None:
    """Take each lane's value, the ``counts``-th of its block, into mean and sum of squares (Welford 1962)."""
    for j in range(len(values)):
        delta = values[j] - means[j]
        mean = means[j] + delta / counts[j]
        squares[j] = squares[j] + delta * (values[j] - mean)
        means[j] = mean


@leaf
def _push_back(means: Slots, squares: Slots, count: float, ring: Slots, tails: Slots) -> None:
    """As :func:`_push` for the values in ``ring``, the result in their place and in ``tails``."""
    for j in range(len(ring)):
        delta = ring[j] - means[j]
        mean = means[j] + delta / count
        tails[j] = squares[j] + delta * (ring[j] - mean)
        ring[j] = mean


@leaf
def _close_block(state: Rows, at: int, first: int, last: int, window: int, zeros: Slots) -> None:
    """Put mean and sum of squared deviations of entries j..W-1 of a group's block in the place of entry j.

    The block's first entry stands in row ``at`` of the ring; ``zeros`` holds one for each lane.
    """
    if last - first >= _WIDE:
        means, squares = zeros[first:last], zeros[first:last]
        row = at
        for k in range(window):
            row = window - 1 if row == 0 else row - 1
            ring, tails = state[_RING + row][first:last], state[_RING + window + row][first:last]
            _push_back(means, squares, k + 1.0, ring, tails)
            means, squares = ring, tails
        return
    # Two at a time, so that one division need not wait for the other; the last may go twice.
    for one in range(first, last, 2):
        other = min(one + 1, last - 1)
        mean_a, mean_b, square_a, square_b, count = 0.0, 0.0, 0.0, 0.0, 0.0
        row = at
        for _ in range(window):
            row = window - 1 if row == 0 else row - 1
            tail = row + window
            a, b = state[_RING + row, one], state[_RING + row, other]
            count += 1.0
            delta_a, delta_b = a - mean_a, b - mean_b
            mean_a += delta_a / count
            mean_b += delta_b / count
            square_a += delta_a * (a - mean_a)
            square_b += delta_b * (b - mean_b)
            state[_RING + row, one], state[_RING + row, other] = mean_a, mean_b
            state[_RING + tail, one], state[_RING + tail, other] = square_a, square_b
