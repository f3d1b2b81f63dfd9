"""That tapelab and its peers compute the same, looked at once before they are timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.cli.bench.kernel_peers import PythonBars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.ticks import Ticks

#: Prints that plain Python goes through; it needs a second per million.
EXACT: Final = 200_000
#: Rows by which every feature and its statistics are warm.
WARM: Final = 300
#: Running sums in single steps lose digits that ours keep, most in a covariance near 0: hence not all rows, in
#: deviations.
_SHARE: Final = 0.99
_APART: Final = 2e-3
_RELATIVE: Final = 1e-9
#: Fields by the peers' names, and how each makes one figure of the whole tape.
_FIELDS: Final[dict[str, tuple[str, str, Callable[[Any], Any]]]] = {
    "n": ("size", "n", np.sum),
    "open": ("first", "open", lambda column: column[0]),
    "high": ("max", "high", np.max),
    "low": ("min", "low", np.min),
    "close": ("last", "close", lambda column: column[-1]),
    "volume": ("volume", "volume", np.sum),
    "dollar": ("dollar", "dollar", np.sum),
    "buy_volume": ("buy_volume", "buy_volume", np.sum),
    "sell_volume": ("sell_volume", "sell_volume", np.sum),
}


def bars_agree(ours: npt.NDArray[np.void], theirs: Mapping[str, Any], ticks: Ticks, spec: BarSpec) -> str:
    """Hold bars against those of pandas and polars, and against the rule in plain Python; what to say of it.

    Tick bars are held row by row. Bars by volume and value end where the peers' running sum says, which carries the
    excess over: held are the counts, sums and prices of the whole tape, and row by row a plain Python loop over its
    beginning by the exact rule. A tape of several days, or with prints that enter no bar, makes other bars by
    rights.

    Args:
        ours: bars with at least the plain fields.
        theirs: a frame by the name of each peer (``pandas``, ``polars``).

    Raises:
        RuntimeError: they differ by more than 1e-9 of the value.
    """
    ours = ours[ours["n"] > 0]
    if ours["n"].sum() != ticks.n or (np.diff(ours["day"]) != 0).any():
        return "outputs not compared: several days, or prints that enter no bar"
    for peer, frame in theirs.items():
        for name, (pandas, polars, whole) in _FIELDS.items():
            mine, other = ours[name], frame[pandas if peer == "pandas" else polars].to_numpy()
            if spec.kind != "tick":
                mine, other = np.atleast_1d(whole(mine)), np.atleast_1d(whole(other))
            _same(mine, other, peer, f"{name} of {spec}")
    part = ticks.slice(0, EXACT)
    measure = {"tick": np.ones(part.n), "volume": part.volume, "dollar": part.price * part.volume}[spec.kind]
    closed = PythonBars(spec.threshold).update(part._replace(volume=measure))
    exact = np.array(closed, np.float64).reshape(-1, 14)
    for at, name in ((1, "ts_close_ns"), (2, "open"), (3, "high"), (4, "low"), (5, "close"), (9, "n")):
        _same(ours[name][: len(exact)].astype(np.float64), exact[:, at], "plain Python", f"{name} of {spec}")
    return "outputs compared"


def features_agree(
    ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32], peer: str, names: Sequence[str]
) -> None:
    """Hold warm rows of features against a peer's.

    Raises:
        RuntimeError: a feature differs by more than 0.002 deviations in more than one row of a hundred.
    """
    for j, name in enumerate(names):
        # Where a window does not vary they divide by nothing, and ours is 0.
        off = np.abs(ours[WARM:, j] - np.nan_to_num(theirs[WARM:, j], nan=0.0))
        apart = float(np.quantile(off, _SHARE))
        if not apart < _APART:
            raise RuntimeError(f"{peer} computes another {name}: expected within {_APART:g}, got {apart:.3g} apart")


def _same(ours: npt.NDArray[Any], theirs: npt.NDArray[Any], peer: str, what: str) -> None:
    if len(ours) != len(theirs):
        raise RuntimeError(f"{peer} computes other bars: expected {len(ours)} rows of {what}, got {len(theirs)}")
    unlike = ~np.isclose(theirs, ours, rtol=_RELATIVE, atol=0.0)
    if unlike.any():
        row = int(np.flatnonzero(unlike)[0])
        raise RuntimeError(f"{peer} computes another {what}: expected {ours[row]} in row {row}, got {theirs[row]}")
