"""The backtest: the live decision rule over a tape, bar by bar, with costs and delayed fills."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import CostModel, Frictions, round_trip_cost_fractions
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.kernel import N_FIGURES, TRADE_FLOATS, TRADE_WHOLE, Figure, simulate
from tapelab.quant.backtest.results import TRADE_DTYPE, BacktestResult, Kpis, kpis_of

Floats = npt.NDArray[np.float64]

_WITHOUT = Frictions()


class SweepResult(NamedTuple):
    """One symbol's backtest for each of k thresholds; arrays of shape ``(k,)``.

    Args:
        threshold: fractions of the price, as given.
        net_pnl: currency.
        net_return: sum of the bars' net returns, fractions of the price.
        n_trades: positions opened and closed.
        figures: f64 ``(k, len(Figure))``, all key figures, equal to the bit to those of single runs.
        equity: f64 ``(k, n)``, currency; ``(k, 0)`` where it was not asked for.
    """

    threshold: Floats
    net_pnl: Floats
    net_return: Floats
    n_trades: npt.NDArray[np.int64]
    figures: Floats
    equity: Floats

    def kpis(self, k: int) -> Kpis:
        """Key figures of the k-th threshold."""
        return kpis_of(self.figures[k])


class _Inputs(NamedTuple):
    """Columns of a backtest as contiguous arrays of the kernels' types, in the order of ``kernel.simulate``."""

    ts_ns: npt.NDArray[np.int64]
    price: Floats
    fill_price: Floats
    session_close_ns: npt.NDArray[np.int64]
    session_end: npt.NDArray[np.bool_]
    usable: npt.NDArray[np.bool_]
    expected_return: Floats
    cost_fraction: Floats
    spread: Floats
    volatility: Floats
    volume: Floats


@njit
def _sweep(
    thresholds: Any,
    day_start: Any,
    ts_ns: Any,
    price: Any,
    fill_price: Any,
    session_close_ns: Any,
    session_end: Any,
    usable: Any,
    expected_return: Any,
    cost_fraction: Any,
    spread: Any,
    volatility: Any,
    volume: Any,
    cooldown_ns: int,
    max_hold_ns: int,
    flatten_ns: int,
    fee_per_contract: float,
    fee_bps: float,
    spread_ticks: float,
    slippage_ticks: float,
    tick_size: float,
    multiplier: float,
    slippage_volatility: float,
    impact: float,
    round_to_tick: bool,
    max_long: float,
    max_short: float,
    lots: float,
    record: bool,
    side: Any,
    reason: Any,
    gross: Any,
    cost: Any,
    net_return: Any,
    equity: Any,
    trade_whole: Any,
    trade_floats: Any,
    trade_net: Any,
    day_net: Any,
    figures: Any,
) -> None:
    with_equity = equity.shape[1] > 0
    for k in range(len(thresholds)):
        simulate(
            day_start,
            ts_ns,
            price,
            fill_price,
            session_close_ns,
            session_end,
            usable,
            expected_return,
            cost_fraction,
            spread,
            volatility,
            volume,
            thresholds[k],
            cooldown_ns,
            max_hold_ns,
            flatten_ns,
            fee_per_contract,
            fee_bps,
            spread_ticks,
            slippage_ticks,
            tick_size,
            multiplier,
            slippage_volatility,
            impact,
            round_to_tick,
            max_long,
            max_short,
            lots,
            record,
            with_equity,
            side,
            reason,
            gross,
            cost,
            net_return,
            equity[k],
            trade_whole,
            trade_floats,
            trade_net,
            day_net,
            figures[k],
        )


@njit
def _all_finite(values: Any) -> bool:
    good = True
    for i in range(len(values)):
        good &= math.isfinite(values[i])
    return good


@njit
def _day_starts(day: Any) -> Any:
    """The first row of every day, then the number of rows."""
    n, count = len(day), 1
    for i in range(1, n):
        count += day[i] != day[i - 1]
    starts = np.empty(count + 1 if n > 0 else 1, np.int64)
    starts[0], at = 0, 1
    for i in range(1, n):
        if day[i] != day[i - 1]:
            starts[at] = i
            at += 1
    starts[-1] = n
    return starts


class _Setup(NamedTuple):
    inputs: _Inputs
    day_start: npt.NDArray[np.int64]
    days: npt.NDArray[np.int32]
    settings: tuple[Any, ...]

    def arguments(self, thresholds: Floats, *outputs: Any) -> tuple[Any, ...]:
        """The arguments of ``_sweep``."""
        return (thresholds, self.day_start, *self.inputs, *self.settings, *outputs)


def _set_up(
    columns: tuple[npt.ArrayLike, ...],
    params: DecisionParams,
    costs: CostModel,
    lots: float,
    frictions: Frictions,
    extra: tuple[npt.ArrayLike | None, ...],
) -> _Setup:
    ts, price, fill, day, close, end, usable, expected = columns
    days = np.ascontiguousarray(day, np.int32)
    arrays: list[Any] = [
        np.ascontiguousarray(column, dtype)
        for column, dtype in zip(
            (ts, price, fill, close, end, usable, expected),
            (np.int64, np.float64, np.float64, np.int64, np.bool_, np.bool_, np.float64),
            strict=True,
        )
    ]
    optional = [np.empty(0) if column is None else np.ascontiguousarray(column, np.float64) for column in extra]
    names = ("ts_ns", "price", "fill_price", "session_close_ns", "session_end", "usable", "expected_return")
    given = [("day", days), *zip(names, arrays, strict=True)]
    given += [
        (name, array)
        for name, array, column in zip(("spread", "volatility", "volume"), optional, extra, strict=True)
        if column is not None
    ]
    shape = arrays[0].shape
    for name, array in given:
        if array.shape != shape or array.ndim != 1:
            raise ValueError(f"{name}: expected shape {shape} like ts_ns, got {array.shape}")
    # An order can trade at any bar, so prices may not be missing anywhere a position may change.
    for name, prices in (("price", arrays[1]), ("fill_price", arrays[2])):
        if not _all_finite(prices):
            raise ValueError(f"{name}: expected finite prices, got {int((~np.isfinite(prices)).sum())} that are not")
    if not lots > 0.0:
        raise ValueError(f"position_lots: expected > 0, got {lots}")
    if (frictions.slippage_volatility or frictions.impact) and extra[1] is None:
        raise ValueError("volatility: expected a column, as slippage scales with it, got none")
    if frictions.impact and extra[2] is None:
        raise ValueError("volume: expected a column, as impact scales with it, got none")
    day_start = _day_starts(days)
    # One set of argument types, so that numba compiles one version whatever the caller holds.
    settings = (
        int(params.cooldown_ns),
        int(params.max_hold_ns),
        int(params.flatten_ns),
        *(float(value) for value in costs),
        float(frictions.slippage_volatility),
        float(frictions.impact),
        bool(frictions.round_to_tick),
        float(frictions.max_long),
        float(frictions.max_short),
        float(lots),
    )
    every: list[Any] = [*arrays, round_trip_cost_fractions(arrays[1], costs), *optional]
    inputs = _Inputs(*every)
    return _Setup(inputs, day_start, days[day_start[:-1]], settings)


def _run(setup: _Setup, thresholds: Floats, with_equity: bool) -> tuple[Floats, Floats]:
    """Figures and equity of every threshold."""
    n, k = len(setup.inputs.ts_ns), len(thresholds)
    figures, equity = np.empty((k, N_FIGURES)), np.empty((k, n if with_equity else 0))
    bytes_, floats = np.empty(0, np.int8), np.empty(0)
    arguments = setup.arguments(
        thresholds,
        False,
        bytes_,
        bytes_,
        floats,
        floats,
        floats,
        equity,
        np.empty((0, TRADE_WHOLE), np.int64),
        np.empty((0, TRADE_FLOATS)),
        np.empty(n),
        np.empty(len(setup.days)),
        figures,
    )
    _sweep(*arguments)
    return figures, equity


def run_backtest(
    ts_ns: npt.ArrayLike,
    price: npt.ArrayLike,
    fill_price: npt.ArrayLike,
    day: npt.ArrayLike,
    session_close_ns: npt.ArrayLike,
    session_end: npt.ArrayLike,
    usable: npt.ArrayLike,
    expected_return: npt.ArrayLike,
    params: DecisionParams,
    costs: CostModel,
    position_lots: float = 1,
    *,
    frictions: Frictions = _WITHOUT,
    spread: npt.ArrayLike | None = None,
    volatility: npt.ArrayLike | None = None,
    volume: npt.ArrayLike | None = None,
) -> BacktestResult:
    """Trade one symbol's bars by the live decision rule.

    A change decided at bar i trades at ``fill_price[i]`` and pays ``costs.fill_costs`` per lot of the change.
    Profit is marked at the bars' prices and a fill is booked at the bar that decided it, so that bars add up
    to trades exactly in arithmetic and to float rounding in practice. The last bar counts as a session's end:
    the run starts and ends flat.

    Args:
        ts_ns: bar closes, event time, shape ``(n,)`` like all columns, non-decreasing.
        price: bar closes, quote unit, finite.
        fill_price: where an order decided at the bar trades (``fills.fills_after_latency``), finite.
        day: trading day YYYYMMDD.
        session_close_ns: close of the bar's session.
        session_end: the bar is its session's last.
        usable: the score counts (warm, not after a gap).
        expected_return: fraction of the price; NaN never trades.
        params: the decision rule's settings.
        costs: expected costs per side, on which the rule decides; fees and fixed slippage of the fills.
        position_lots: lots of a full position, > 0.
        frictions: what fills pay beyond the expected costs, and the limits of positions.
        spread: quoted or estimated spread at each bar in price units, instead of ``costs.spread_ticks``; NaN
            and negative ones count as none.
        volatility: of each bar, fraction of the price; needed by scaled slippage.
        volume: lots of each bar; needed by impact.

    Raises:
        ValueError: shapes disagree, a price is not finite, or a column that the frictions need is missing.
    """
    columns = ts_ns, price, fill_price, day, session_close_ns, session_end, usable, expected_return
    setup = _set_up(columns, params, costs, position_lots, frictions, (spread, volatility, volume))
    threshold = np.array([params.threshold], np.float64)
    n = len(setup.inputs.ts_ns)
    # The first pass counts the trades, so that memory follows them and not the bars.
    n_trades = int(_run(setup, threshold, False)[0][0, Figure.N_TRADES])
    side, reason = np.zeros(n, np.int8), np.zeros(n, np.int8)
    gross, cost, net_return = np.zeros(n), np.zeros(n), np.zeros(n)
    equity, day_net, figures = np.empty((1, n)), np.empty(len(setup.days)), np.empty((1, N_FIGURES))
    whole, floats = np.empty((n_trades, TRADE_WHOLE), np.int64), np.empty((n_trades, TRADE_FLOATS))
    arguments = setup.arguments(
        threshold,
        True,
        side,
        reason,
        gross,
        cost,
        net_return,
        equity,
        whole,
        floats,
        np.empty(n_trades),
        day_net,
        figures,
    )
    _sweep(*arguments)
    return BacktestResult(
        side=side,
        reason=reason,
        gross=gross,
        cost=cost,
        net=gross - cost,
        net_return=net_return,
        equity=equity[0],
        drawdown=np.maximum(np.maximum.accumulate(equity[0]), 0.0) - equity[0],
        trades=_trades(whole, floats),
        days=setup.days,
        day_net=day_net,
        kpis=kpis_of(figures[0]),
    )


def sweep_thresholds(
    thresholds: npt.ArrayLike,
    ts_ns: npt.ArrayLike,
    price: npt.ArrayLike,
    fill_price: npt.ArrayLike,
    day: npt.ArrayLike,
    session_close_ns: npt.ArrayLike,
    session_end: npt.ArrayLike,
    usable: npt.ArrayLike,
    expected_return: npt.ArrayLike,
    params: DecisionParams,
    costs: CostModel,
    position_lots: float = 1,
    *,
    frictions: Frictions = _WITHOUT,
    spread: npt.ArrayLike | None = None,
    volatility: npt.ArrayLike | None = None,
    volume: npt.ArrayLike | None = None,
    with_equity: bool = False,
) -> SweepResult:
    """Backtest once per threshold, ``params.threshold`` aside; other arguments as :func:`run_backtest`.

    Every figure, and the equity where it is asked for, equals that of a single run to the bit.
    """
    columns = ts_ns, price, fill_price, day, session_close_ns, session_end, usable, expected_return
    setup = _set_up(columns, params, costs, position_lots, frictions, (spread, volatility, volume))
    grid = np.ascontiguousarray(thresholds, np.float64)
    figures, equity = _run(setup, grid, with_equity)
    return SweepResult(
        threshold=grid,
        net_pnl=figures[:, Figure.NET_PNL].copy(),
        net_return=figures[:, Figure.NET_RETURN].copy(),
        n_trades=figures[:, Figure.N_TRADES].astype(np.int64),
        figures=figures,
        equity=equity,
    )


def _trades(whole: npt.NDArray[np.int64], floats: Floats) -> npt.NDArray[np.void]:
    """The kernel's two tables of trades as one; the cost is the sum of its parts, net what remains."""
    trades = np.zeros(len(whole), TRADE_DTYPE)
    names = TRADE_DTYPE.names or ()
    for column, name in enumerate(names[:TRADE_WHOLE]):
        trades[name] = whole[:, column]
    for column, name in enumerate([*names[TRADE_WHOLE : TRADE_WHOLE + TRADE_FLOATS - 1], "net_return"]):
        trades[name] = floats[:, column]
    trades["cost"] = trades["fee"] + trades["spread"] + trades["slippage"]
    trades["net"] = trades["gross"] - trades["cost"]
    return trades
