"""A user's own module, put to the same tests. docs/leakage.md describes the functions it may have."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.cli.check.prefix import Leak, cuts, differing, first_leaks, other_bars, prefix_test
from tapelab.cli.check.subjects import bleeding
from tapelab.common.errors import ConfigError
from tapelab.quant.backtest.fills import fills_not_after

#: Functions that are looked for.
FUNCTIONS: Final = ("features", "labels", "splits", "fills")
_REMEDY: Final = "correct the module (docs/leakage.md describes its functions)"
#: Rows whose fills are tested.
_FILLS: Final = 40
#: Numbers of bars stand in for prices this far apart, so that no spread or slippage makes one of another.
_APART: Final = float(1 << 24)


def load_module(path: Path) -> ModuleType:
    """Import a file.

    Raises:
        ConfigError: it is missing, fails, or has none of the functions.
    """
    if not path.is_file():
        raise ConfigError(
            f"cannot read {path}", expected="a Python file", actual="no such file", remedy="correct --features"
        )
    spec = importlib.util.spec_from_file_location("tapelab_checked_module", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"cannot read {path}", expected="a Python file", actual="another", remedy="name a .py file")
    module = importlib.util.module_from_spec(spec)
    _called(path.name, lambda: spec.loader.exec_module(module) if spec.loader else None)
    if not any(callable(getattr(module, name, None)) for name in FUNCTIONS):
        raise ConfigError(
            f"{path.name} gives nothing to check",
            expected=f"at least one function of {', '.join(FUNCTIONS)}",
            actual="none",
            remedy=_REMEDY,
        )
    return module


def check_module(
    module: ModuleType, where: str, bars: npt.NDArray[np.void], label_end_ns: npt.NDArray[np.int64]
) -> dict[str, list[Leak]]:
    """Everything the module has, tested on some bars.

    Args:
        where: the module's name for people.
        bars: ``BAR_DTYPE``, shape ``(n,)``.
        label_end_ns: ends of the experiment's labels, for splits of a module without labels of its own.

    Raises:
        ConfigError: a function fails, or returns what it should not.
    """
    found: dict[str, list[Leak]] = {}
    if callable(getattr(module, "features", None)):
        compute = _steady(f"{where} features", module.features, 2)
        whole = compute(bars)
        names = [str(name) for name in getattr(module, "FEATURE_NAMES", ())]
        names = names if len(names) == whole.shape[1] else [f"column {i}" for i in range(whole.shape[1])]
        found[f"{where} features"] = prefix_test(f"{where} features", names, bars, whole, compute)
    if callable(getattr(module, "labels", None)):
        leaks, label_end_ns = _check_labels(module, f"{where} labels", bars)
        found[f"{where} labels"] = leaks
    if callable(getattr(module, "splits", None)):
        found[f"{where} splits"] = _check_splits(module, f"{where} splits", bars, label_end_ns)
    if callable(getattr(module, "fills", None)):
        found[f"{where} fills"] = _check_fills(_steady(f"{where} fills", module.fills, 1), f"{where} fills", bars)
    return found


def _called(subject: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        raise ConfigError(
            f"{subject} fails", expected="a result", actual=f"{type(error).__name__}: {error}", remedy=_REMEDY
        ) from error


def _steady(
    subject: str, function: Callable[[Any], Any], dimensions: int
) -> Callable[[npt.NDArray[np.void]], npt.NDArray[Any]]:
    """The function with its result checked: numbers, one row per bar, the same when it is asked again."""

    def compute(bars: npt.NDArray[np.void]) -> npt.NDArray[Any]:
        first = np.asarray(_called(subject, lambda: function(bars.copy())))
        _expect(subject, first, len(bars), dimensions)
        again = np.asarray(_called(subject, lambda: function(bars.copy())))
        if again.shape != first.shape or bool(differing(first, again).any()):
            raise ConfigError(
                f"{subject} cannot be tested",
                expected="the same values for the same bars",
                actual="others at the second call",
                remedy="let it depend on its bars alone: no state, clock or unseeded random numbers",
            )
        return first

    return compute


def _expect(subject: str, values: npt.NDArray[Any], n: int, dimensions: int) -> None:
    if values.ndim != dimensions or len(values) != n or values.dtype.kind not in "fiub":
        raise ConfigError(
            f"{subject} gives something else",
            expected=f"numbers of shape ({n}{', n_columns' if dimensions == 2 else ','})",
            actual=f"{values.dtype} of shape {values.shape}",
            remedy=_REMEDY,
        )


def _check_labels(
    module: ModuleType, subject: str, bars: npt.NDArray[np.void]
) -> tuple[list[Leak], npt.NDArray[np.int64]]:
    """Labels whose stated end lies before the cut may not change with what comes after it."""

    def columns(some: npt.NDArray[np.void]) -> npt.NDArray[Any]:
        result = _called(subject, lambda: tuple(module.labels(some.copy())))
        if len(result) != 2:
            _expect(subject, np.empty(0, object), len(some), 2)
        pair = [np.asarray(column) for column in result]
        for column in pair:
            _expect(subject, column, len(some), 1)
        ends.append(pair[1].astype(np.int64))
        return np.column_stack([pair[0].astype(np.float64), _relative(pair[1].astype(np.int64), bars)])

    ends: list[npt.NDArray[np.int64]] = []
    whole = columns(bars)
    end_ns = ends[0]
    close_ns = bars["ts_close_ns"]
    others = []
    for cut in cuts(len(bars)):
        settled = end_ns < close_ns[cut]
        for how, values in (
            ("cut off", columns(bars[:cut].copy())),
            ("changed", columns(other_bars(bars, slice(cut, None)))),
        ):
            others.append((cut, how, np.where(settled[:cut, None], values[:cut], whole[:cut])))
    return first_leaks(subject, ["label", "end"], close_ns, whole, others), end_ns


def _relative(end_ns: npt.NDArray[np.int64], bars: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """Times as float64 without rounding: days of nanoseconds fit, epochs do not."""
    relative: npt.NDArray[np.float64] = (end_ns - bars["ts_close_ns"][0]).astype(np.float64)
    return relative


def _check_splits(
    module: ModuleType, subject: str, bars: npt.NDArray[np.void], label_end_ns: npt.NDArray[np.int64]
) -> list[Leak]:
    start_ns = bars["ts_close_ns"].copy()
    parts: Sequence[Any] = _called(subject, lambda: list(module.splits(start_ns.copy(), label_end_ns.copy())))
    leaks = []
    for number, part in enumerate(parts, start=1):
        train, test = _called(subject, partial(_pair, part))
        name = f"{subject} {number}"
        if any(len(rows) and not (rows.min() >= 0 and rows.max() < len(bars)) for rows in (train, test)):
            _expect(name, np.empty(0, object), len(bars), 1)
        leak = bleeding(name, start_ns, label_end_ns, train, test, "training label is still open")
        leaks += [leak] if leak else []
    return leaks


def _pair(part: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    train, test = part
    return np.asarray(train, np.int64), np.asarray(test, np.int64)


def _check_fills(
    compute: Callable[[npt.NDArray[np.void]], npt.NDArray[Any]], subject: str, bars: npt.NDArray[np.void]
) -> list[Leak]:
    """The fill of an order decided at a bar may not move with that bar or those before it.

    Every bar is tested by bars that are told by their numbers instead of their prices, which shows a fill at a price
    as it is; some bars by other prices, which shows any other dependence.
    """
    day = bars["day"]
    row = np.arange(len(bars))
    after_day = np.append(np.flatnonzero(day[1:] != day[:-1]) + 1, len(bars))
    taken = fills_not_after(
        partial(_numbered, compute, bars), row, row, after_day[np.searchsorted(after_day, row, "right")]
    )
    if taken.any():
        first = int(np.argmax(taken))
        how = (
            f"the fill is at a price of the bar that decided it, or of a bar before it; so are {int(taken.sum())} fills"
        )
        return [Leak(subject, "", first, int(bars["ts_close_ns"][first]), how)]
    whole = compute(bars)
    followed = np.flatnonzero(day[:-1] == day[1:])
    for at in followed[:: max(len(followed) // _FILLS, 1)].tolist():
        after = compute(other_bars(bars, slice(None, at + 1)))
        if bool(differing(whole[at : at + 1], after[at : at + 1])[0]):
            how = "the fill moves with prices of the bar that decided it, or of bars before it"
            return [Leak(subject, "", at, int(bars["ts_close_ns"][at]), how)]
    return []


def _numbered(
    compute: Callable[[npt.NDArray[np.void]], npt.NDArray[Any]], bars: npt.NDArray[np.void], numbers: Any
) -> npt.NDArray[np.float64]:
    """Which bar each fill took its price from; NaN where it is not a bar's price as it is."""
    told = bars.copy()
    for name in ("open", "high", "low", "close", "vwap"):
        told[name] = (numbers + 1.0) * _APART
    taken = np.asarray(compute(told), np.float64) / _APART - 1.0
    return np.where(taken == np.floor(taken), taken, np.nan)
