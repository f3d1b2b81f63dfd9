"""The backtest: the live decision rule over a tape, bar by bar, with costs and delayed fills."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import CostModel, one_side_cost, one_side_costs, round_trip_cost_fraction
from tapelab.quant.backtest.decision import NEVER_NS, DecisionParams, Reason, decide
from tapelab.quant.backtest.results import TRADE_DTYPE, BacktestResult, summarise

_EDGE = int(Reason.EDGE)


class SweepResult(NamedTuple):
    """One symbol's backtest for each of k thresholds; arrays of shape ``(k,)``.

    Args:
        threshold: fractions of the price, as given.
        net_pnl: currency.
        net_return: sum of the bars' net returns, fractions of the price.
        n_trades: positions opened and closed.
    """

    threshold: npt.NDArray[np.float64]
    net_pnl: npt.NDArray[np.float64]
    net_return: npt.NDArray[np.float64]
    n_trades: npt.NDArray[np.int64]


@njit
def _positions(
    ts_ns: Any,
    price: Any,
    session_close_ns: Any,
    session_end: Any,
    usable: Any,
    expected_return: Any,
    threshold: float,
    cooldown_ns: int,
    max_hold_ns: int,
    flatten_ns: int,
    fee_per_contract: float,
    fee_bps: float,
    spread_ticks: float,
    slippage_ticks: float,
    tick_size: float,
    multiplier: float,
    side_out: Any,
    reason_out: Any,
) -> None:
    """Run the decision rule; writes the target position and the reason of every bar."""
    n = len(ts_ns)
    side, since_ns, changed_ns = 0, NEVER_NS, NEVER_NS
    for i in range(n):
        cost = round_trip_cost_fraction(
            price[i], fee_per_contract, fee_bps, spread_ticks, slippage_ticks, tick_size, multiplier
        )
        new, reason = decide(
            side,
            since_ns,
            changed_ns,
            ts_ns[i],
            session_close_ns[i],
            expected_return[i],
            cost,
            usable[i],
            session_end[i] or i == n - 1,
            False,
            threshold,
            cooldown_ns,
            max_hold_ns,
            flatten_ns,
        )
        if new != side:
            side, since_ns, changed_ns = new, ts_ns[i], ts_ns[i]
        elif reason == _EDGE:
            since_ns = ts_ns[i]
        side_out[i] = side
        reason_out[i] = reason


@njit
def _account(
    price: Any,
    fill_price: Any,
    side: Any,
    fee_per_contract: float,
    fee_bps: float,
    spread_ticks: float,
    slippage_ticks: float,
    tick_size: float,
    multiplier: float,
    gross_out: Any,
    cost_out: Any,
) -> tuple[int, float]:
    """Mark positions to the bars' prices; gross and cost in price units per lot.

    Returns:
        number of positions opened, and the sum of the prices of all fills per lot.
    """
    opened, traded, before = 0, 0.0, 0
    for i in range(len(price)):
        gross, cost = 0.0, 0.0
        if before != 0:
            gross = before * (price[i] - price[i - 1])
        change = side[i] - before
        if change != 0:
            lots = abs(change)
            gross += change * (price[i] - fill_price[i])
            cost = lots * one_side_cost(
                fill_price[i], fee_per_contract, fee_bps, spread_ticks, slippage_ticks, tick_size, multiplier
            )
            traded += lots * fill_price[i]
            if side[i] != 0:
                opened += 1
        gross_out[i] = gross
        cost_out[i] = cost
        before = side[i]
    return opened, traded


class _Inputs(NamedTuple):
    """Arguments of a backtest as contiguous arrays of the kernels' types."""

    ts_ns: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]
    fill_price: npt.NDArray[np.float64]
    day: npt.NDArray[np.int32]
    session_close_ns: npt.NDArray[np.int64]
    session_end: npt.NDArray[np.bool_]
    usable: npt.NDArray[np.bool_]
    expected_return: npt.NDArray[np.float64]


_INPUT_DTYPES = (np.int64, np.float64, np.float64, np.int32, np.int64, np.bool_, np.bool_, np.float64)


def _inputs(*columns: npt.ArrayLike) -> _Inputs:
    arrays: list[Any] = [np.ascontiguousarray(c, dtype=t) for c, t in zip(columns, _INPUT_DTYPES, strict=True)]
    inputs = _Inputs(*arrays)
    for name, array in inputs._asdict().items():
        if array.shape != inputs.ts_ns.shape or array.ndim != 1:
            raise ValueError(f"{name}: expected shape {inputs.ts_ns.shape} like ts_ns, got {array.shape}")
    # An order can trade at any bar, so prices may not be missing anywhere a position may change.
    for name, prices in (("price", inputs.price), ("fill_price", inputs.fill_price)):
        if not np.isfinite(prices).all():
            raise ValueError(f"{name}: expected finite prices, got {int((~np.isfinite(prices)).sum())} that are not")
    return inputs


def _decide_all(
    inputs: _Inputs, params: DecisionParams, costs: CostModel
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    n = len(inputs.ts_ns)
    side, reason = np.zeros(n, np.int8), np.zeros(n, np.int8)
    _positions(
        inputs.ts_ns,
        inputs.price,
        inputs.session_close_ns,
        inputs.session_end,
        inputs.usable,
        inputs.expected_return,
        float(params.threshold),
        int(params.cooldown_ns),
        int(params.max_hold_ns),
        int(params.flatten_ns),
        *_floats(costs),
        side,
        reason,
    )
    return side, reason


def _floats(costs: CostModel) -> CostModel:
    # One set of argument types, so that numba compiles one version whatever the caller holds.
    return CostModel(*(float(value) for value in costs))


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
) -> BacktestResult:
    """Trade one symbol's bars by the live decision rule.

    A change decided at bar i trades at ``fill_price[i]`` and pays ``one_side_cost`` per lot of the change.
    Profit is marked at the bars' prices, so that bars add up to trades exactly in arithmetic and to float
    rounding in practice. The last bar counts as a session's end: the run starts and ends flat.

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
        costs: costs per side.
        position_lots: lots of a full position.

    Raises:
        ValueError: shapes disagree or a price is not finite.
    """
    inputs = _inputs(ts_ns, price, fill_price, day, session_close_ns, session_end, usable, expected_return)
    side, reason = _decide_all(inputs, params, costs)
    n = len(side)
    gross, cost = np.zeros(n), np.zeros(n)
    _, traded = _account(inputs.price, inputs.fill_price, side, *_floats(costs), gross, cost)
    trades = _trades(inputs, side, reason, costs, position_lots)
    scale = position_lots * costs.multiplier
    net_return = (gross - cost) / inputs.price
    gross, cost = gross * scale, cost * scale
    days, day_net = _by_day(inputs.day, gross - cost)
    return BacktestResult(
        side=side,
        reason=reason,
        gross=gross,
        cost=cost,
        net=gross - cost,
        net_return=net_return,
        trades=trades,
        days=days,
        day_net=day_net,
        kpis=summarise(gross, cost, net_return, trades, day_net, float(traded * scale)),
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
) -> SweepResult:
    """Backtest once per threshold, ``params.threshold`` aside; arguments as :func:`run_backtest`."""
    inputs = _inputs(ts_ns, price, fill_price, day, session_close_ns, session_end, usable, expected_return)
    grid = np.ascontiguousarray(thresholds, np.float64)
    net_pnl, net_return, n_trades = np.zeros(len(grid)), np.zeros(len(grid)), np.zeros(len(grid), np.int64)
    gross, cost = np.zeros(len(inputs.price)), np.zeros(len(inputs.price))
    for k, threshold in enumerate(grid):
        side, _ = _decide_all(inputs, params._replace(threshold=float(threshold)), costs)
        opened, _ = _account(inputs.price, inputs.fill_price, side, *_floats(costs), gross, cost)
        net_pnl[k] = (gross - cost).sum() * position_lots * costs.multiplier
        net_return[k] = ((gross - cost) / inputs.price).sum()
        n_trades[k] = opened
    return SweepResult(grid, net_pnl, net_return, n_trades)


def _by_day(
    day: npt.NDArray[np.int32], net: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Days in order and the profit of each; bars come in time order, so a day is one run of them."""
    if not len(day):
        return day, net
    starts = np.concatenate(([0], np.flatnonzero(np.diff(day)) + 1))
    return day[starts], np.add.reduceat(net, starts)


def _trades(
    inputs: _Inputs,
    side: npt.NDArray[np.int8],
    reason: npt.NDArray[np.int8],
    costs: CostModel,
    position_lots: float,
) -> npt.NDArray[np.void]:
    """Positions from opening to closing; a flip closes one and opens the next at the same fill."""
    before = np.concatenate((np.zeros(1, np.int8), side[:-1])) if len(side) else side
    changed = side != before
    entry, out = np.flatnonzero(changed & (side != 0)), np.flatnonzero(changed & (before != 0))
    trades = np.zeros(len(entry), TRADE_DTYPE)
    held, entry_price, exit_price = side[entry], inputs.fill_price[entry], inputs.fill_price[out]
    points = held * (exit_price - entry_price)
    cost = one_side_costs(entry_price, costs) + one_side_costs(exit_price, costs)
    scale = position_lots * costs.multiplier
    trades["entry_bar"], trades["exit_bar"] = entry, out
    trades["entry_ts_ns"], trades["exit_ts_ns"] = inputs.ts_ns[entry], inputs.ts_ns[out]
    trades["side"], trades["reason"] = held, reason[out]
    trades["entry_price"], trades["exit_price"] = entry_price, exit_price
    trades["gross"], trades["cost"] = points * scale, cost * scale
    trades["net"] = trades["gross"] - trades["cost"]
    trades["net_return"] = (points - cost) / entry_price if len(entry) else 0.0
    return trades
