"""What an experiment's label section means: labels, events, targets, and the weights of training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import LabelConfig
from tapelab.quant.backtest.costs import CostModel, round_trip_cost_fractions
from tapelab.quant.labels.events import cusum_events
from tapelab.quant.labels.fixed_horizon import Labels, sign_of_return, sign_of_return_trades
from tapelab.quant.labels.regression import regression_targets
from tapelab.quant.labels.triple_barrier import triple_barrier_bars, triple_barrier_trades
from tapelab.quant.labels.volatility import ewm_volatility
from tapelab.quant.labels.weights import average_uniqueness, return_attribution, time_decay, to_mean_one

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class LabelledBars(NamedTuple):
    """One row per bar: the label, whether the bar is an event, and a regression's target (NaN elsewhere)."""

    labels: Labels
    events: npt.NDArray[np.bool_]
    target: Float64


def label_bars(
    bars: npt.NDArray[np.void],
    tick_ts_ns: Int64,
    tick_price: Float64,
    config: ExperimentConfig,
    costs: CostModel,
    side: npt.NDArray[np.int8] | None = None,
) -> LabelledBars:
    """Label every bar of a symbol by its eligible prints.

    Args:
        bars: ``BAR_DTYPE``, shape ``(n,)``.
        tick_ts_ns, tick_price: the eligible prints in tape order.
        costs: costs per side, for a regression's net target.
        side: what a meta-label's first rule takes at each bar: the side on which a bet's profit lies.
    """
    label = config.label
    ts_close, session_close = bars["ts_close_ns"].copy(), bars["session_close_ns"].copy()
    close, day = bars["close"].copy(), bars["day"].copy()
    wants_volatility = label.events == "cusum" or (label.barriers and label.unit == "volatility")
    volatility = ewm_volatility(close, day, half_life=label.half_life) if wants_volatility else np.empty(0)
    n_trades, delay_ns = label.horizon_trades, config.latency_ns
    tape = ts_close, session_close, tick_ts_ns, tick_price
    if label.barriers:
        unit = np.full(len(bars), 1e-4)
        if label.unit == "volatility":
            # Prices that never move have no volatility, and a barrier at the entry itself is none.
            unit = np.where(volatility > 0.0, volatility, np.nan)
        upper, lower = label.upper * unit, label.lower * unit
        if side is not None:
            # A short bet earns downwards.
            upper, lower = np.where(side < 0, lower, upper), np.where(side < 0, upper, lower)
        if label.horizon_bars is not None:
            position = None if side is None else np.where(side < 0, -1, 1).astype(np.int8)
            labels = triple_barrier_bars(
                bars,
                upper=upper,
                lower=lower,
                horizon_bars=label.horizon_bars,
                side=position,
                timeout=label.timeout,
            )
        else:
            labels = triple_barrier_trades(
                *tape,
                upper=upper,
                lower=lower,
                horizon_ns=config.horizon_ns if n_trades is None else None,
                n_trades=n_trades,
                delay_ns=delay_ns,
                timeout=label.timeout,
            )
    elif n_trades is not None:
        labels = sign_of_return_trades(*tape, n_trades=n_trades, delay_ns=delay_ns)
    else:
        labels = sign_of_return(*tape, horizon_ns=config.horizon_ns, delay_ns=delay_ns)
    events = np.ones(len(bars), np.bool_)
    if label.events == "cusum":
        threshold = np.where(volatility > 0.0, label.event_threshold * volatility, np.nan)
        events = cusum_events(close, day, threshold) != 0
    target = np.full(len(bars), np.nan)
    if label.kind == "regression":
        seen_ns = np.maximum.accumulate(tick_ts_ns)
        entry = np.searchsorted(seen_ns, ts_close + config.latency_ns, side="right") - 1
        entry_price = np.where(labels.valid, tick_price[np.maximum(entry, 0)], np.nan)
        cost = round_trip_cost_fractions(close, costs)
        target = getattr(regression_targets(labels, entry_price, cost, costs.tick_size), label.target)
    return LabelledBars(labels, events, target)


def training_weights(
    bars: Sequence[npt.NDArray[np.void]],
    symbol: npt.NDArray[np.int32],
    row: Int64,
    ts_start_ns: Int64,
    ts_end_ns: Int64,
    label: LabelConfig,
) -> Float64 | None:
    """Weights of some samples among themselves, mean 1; None where all weigh alike.

    A sample of bar ``i`` covers the bars after it up to the one in which its label ends; overlaps are counted
    within a symbol. Only the samples that are given count, so that a fold's weights know nothing of its test.

    Args:
        bars: of each symbol.
        symbol, row: symbol and bar of each sample, shape ``(n,)``.
        ts_start_ns, ts_end_ns: when it is known and when its label is.
    """
    if label.weights == "none" and label.time_decay == 1.0:
        return None
    weight, unique = np.ones(len(row)), np.ones(len(row))
    for index, rows in enumerate(bars):
        mine = np.flatnonzero(symbol == index)
        first = np.minimum(row[mine] + 1, len(rows) - 1)
        ends = np.searchsorted(rows["ts_close_ns"], ts_end_ns[mine], side="left")
        last = np.maximum(np.minimum(ends, len(rows) - 1), first)
        unique[mine] = average_uniqueness(first, last, len(rows))
        if label.weights == "return_attribution":
            weight[mine] = return_attribution(first, last, np.diff(np.log(rows["close"]), prepend=np.nan))
    if label.weights == "uniqueness":
        weight = unique
    order = np.argsort(ts_start_ns, kind="stable")
    decayed = weight.copy()
    decayed[order] *= time_decay(unique[order], label.time_decay)
    return to_mean_one(decayed)
