"""The prefix test: what is known at a row may not change when the rows after it are cut off or become others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant.dtypes import BAR_DTYPE

#: Where the future is cut off and changed: shares of the rows.
SHARES: Final = (0.3, 0.45, 0.6, 0.75, 0.9)
_SEED: Final = 20_240_610

Columns = Callable[[npt.NDArray[np.void]], npt.NDArray[Any]]


class Leak(NamedTuple):
    """Something that knows what it cannot know yet.

    Args:
        subject: what was tested.
        column: which of its columns; empty where it has one alone.
        row: the first row that gave it away.
        ts_ns: when that row's bar closed.
        how: what was changed and what changed with it.
    """

    subject: str
    column: str
    row: int
    ts_ns: int
    how: str

    def __str__(self) -> str:
        """One line for people."""
        what = f"{self.subject}: {self.column}" if self.column else self.subject
        when = np.datetime64(self.ts_ns, "ns")
        return f"{what}: {self.how} (row {self.row}, {when}Z)"


def cuts(n: int) -> list[int]:
    """Rows at which the future begins, without doubles; none where there are too few rows."""
    return sorted({int(n * share) for share in SHARES if 0 < int(n * share) < n})


def other_bars(bars: npt.NDArray[np.void], rows: slice) -> npt.NDArray[np.void]:
    """A copy in which some rows tell another story: prices walk elsewhere, volumes and sides are others.

    Times, days and flags stay, and a bar's prices keep their order.
    """
    changed = bars.copy()
    part = changed[rows]
    rng = np.random.default_rng(_SEED)
    walk = np.exp(0.01 + np.cumsum(rng.normal(0.0, 2e-3, len(part))))
    for name in BAR_DTYPE.names or ():
        if BAR_DTYPE[name] != np.float64 or name == "utc_offset_s":
            continue
        if name in ("open", "high", "low", "close", "vwap"):
            part[name] *= walk
        else:
            part[name] *= rng.uniform(1.5, 3.0, len(part))
    for left, right in (("buy_n", "sell_n"), ("up_ticks", "down_ticks"), ("buy_volume", "sell_volume")):
        part[left], part[right] = part[right].copy(), part[left].copy()
    return changed


def differing(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where two arrays of one shape differ in value; NaN equals NaN."""
    unequal: npt.NDArray[np.bool_] = left != right
    if left.dtype.kind == "f" and right.dtype.kind == "f":
        unequal &= ~(np.isnan(left) & np.isnan(right))
    return unequal


def first_leaks(
    subject: str,
    names: Sequence[str],
    ts_ns: npt.NDArray[np.int64],
    whole: npt.NDArray[Any],
    others: Sequence[tuple[int, str, npt.NDArray[Any]]],
) -> list[Leak]:
    """One leak per column that differs before a cut.

    Args:
        names: of the columns of ``whole``, shape ``(n, n_columns)``.
        others: ``(cut, what was done, values)``; values have at least ``cut`` rows.
    """
    found: dict[int, Leak] = {}
    for cut, how, values in others:
        unequal = differing(whole[:cut], values[:cut])
        for column in np.flatnonzero(unequal.any(axis=0)).tolist():
            row = int(np.argmax(unequal[:, column]))
            text = f"changes when the bars from row {cut} on are {how}"
            found.setdefault(column, Leak(subject, names[column], row, int(ts_ns[row]), text))
    return [found[column] for column in sorted(found)]


def prefix_test(
    subject: str, names: Sequence[str], bars: npt.NDArray[np.void], whole: npt.NDArray[Any], compute: Columns
) -> list[Leak]:
    """Leaks of a function of bars.

    Args:
        whole: what ``compute`` gives for all bars, shape ``(n, n_columns)``.
        compute: bars to values, one row per bar.
    """
    others = []
    for cut in cuts(len(bars)):
        others.append((cut, "cut off", compute(bars[:cut].copy())))
        others.append((cut, "changed", compute(other_bars(bars, slice(cut, None)))))
    return first_leaks(subject, names, bars["ts_close_ns"], whole, others)
