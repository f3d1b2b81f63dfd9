"""A backtest's columns and settings, checked and laid out for the kernel."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.layout import Market, Settings

_TYPES: Final[dict[str, Any]] = {
    "ts_ns": np.int64,
    "price": np.float64,
    "fill_price": np.float64,
    "day": np.int32,
    "session_close_ns": np.int64,
    "session_end": np.bool_,
    "usable": np.bool_,
    "expected_return": np.float64,
    "spread": np.float64,
    "volatility": np.float64,
    "volume": np.float64,
}


#: Rows that are looked through together for a change of day.
_STRIDE: Final = 4_096


class Setup(NamedTuple):
    """What the kernel runs on, and the trading days YYYYMMDD, in order."""

    market: Market
    settings: Settings
    days: npt.NDArray[np.int32]


@njit
def _day_starts(day: Any) -> Any:
    """The first row of every day, then the number of rows."""
    n, count = len(day), 1
    for i in range(1, n):
        count += day[i] != day[i - 1]
    starts = np.empty(count + 1 if n > 0 else 1, np.int64)
    starts[0], starts[-1], at = 0, n, 1
    for first in range(1, n, _STRIDE):
        part, before = day[first : first + _STRIDE], day[first - 1 : first + _STRIDE - 1]
        changes = 0
        for j in range(len(part)):
            changes += part[j] != before[j]
        for j in range(len(part) if changes else 0):
            if part[j] != before[j]:
                starts[at] = first + j
                at += 1
    return starts


def set_up(
    columns: tuple[npt.ArrayLike, ...],
    params: DecisionParams,
    costs: CostModel,
    lots: float,
    frictions: Frictions,
    extra: tuple[npt.ArrayLike | None, ...],
    days_per_year: float,
) -> Setup:
    """Check and lay out the arguments of ``engine.run_backtest``.

    Args:
        columns: from ``ts_ns`` to ``expected_return``, in its order.
        extra: spread, volatility and volume.

    Raises:
        ValueError: shapes disagree, or a column that the frictions need is missing.
    """
    given: dict[str, Any] = {
        name: np.ascontiguousarray(column, _TYPES[name])
        for name, column in zip(_TYPES, (*columns, *extra), strict=True)
        if column is not None
    }
    shape = given["ts_ns"].shape
    for name, array in given.items():
        if array.shape != shape or array.ndim != 1:
            raise ValueError(f"{name}: expected shape {shape} like ts_ns, got {array.shape}")
    refuse_settings(lots, days_per_year, frictions, given)
    days = given.pop("day")
    day_start = _day_starts(days)
    none = np.empty(0)
    for name in ("session_end", "usable"):
        given[name] = given[name].view(np.uint8)
    market = Market(day_start=day_start, **(dict.fromkeys(("spread", "volatility", "volume"), none) | given))
    # One set of argument types, so that numba compiles one version whatever the caller holds.
    settings = Settings(
        rule=DecisionParams(
            float(params.threshold), int(params.cooldown_ns), int(params.max_hold_ns), int(params.flatten_ns)
        ),
        costs=CostModel(*(float(value) for value in costs)),
        frictions=Frictions(
            float(frictions.slippage_volatility),
            float(frictions.impact),
            bool(frictions.round_to_tick),
            float(frictions.max_long),
            float(frictions.max_short),
        ),
        lots=float(lots),
        days_per_year=float(days_per_year),
    )
    return Setup(market, settings, days[day_start[:-1]])


def refuse_settings(lots: float, days_per_year: float, frictions: Frictions, given: Collection[str]) -> None:
    """Refuse numbers out of their range, and frictions whose columns are not among those given.

    Raises:
        ValueError: one is.
    """
    for name, value in (("position_lots", lots), ("days_per_year", days_per_year)):
        if not value > 0.0:
            raise ValueError(f"{name}: expected > 0, got {value}")
    if (frictions.slippage_volatility or frictions.impact) and "volatility" not in given:
        raise ValueError("volatility: expected a column, as slippage scales with it, got none")
    if frictions.impact and "volume" not in given:
        raise ValueError("volume: expected a column, as impact scales with it, got none")


def refuse_missing_prices(market: Market) -> None:
    """An order can trade at any bar, so prices may not be missing anywhere a position may change.

    Raises:
        ValueError: one is.
    """
    for name in ("price", "fill_price"):
        missing = int((~np.isfinite(getattr(market, name))).sum())
        if missing:
            raise ValueError(f"{name}: expected finite prices, got {missing} that are not")
