"""From scores to positions: calibration, the choice of the threshold, and the backtest of a period."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.serving.manifest import Calibration
from tapelab.quant.backtest.costs import round_trip_cost_fractions
from tapelab.quant.backtest.engine import run_backtest, sweep_thresholds
from tapelab.quant.backtest.print_engine import PrintBacktest
from tapelab.quant.backtest.results import BacktestResult
from tapelab.quant.calendar import TRADING_DAYS_PER_YEAR
from tapelab.quant.labels.meta import directed
from tapelab.trainer.etl import SymbolData

#: Quantiles of the edges beyond cost that are tried as thresholds, besides none at all.
_QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
#: A threshold that leaves fewer trades on the tune split says nothing.
_MIN_TUNE_TRADES = 10
#: Below any return that matters, above rounding.
_TIE = 1e-10


class Scorer(Protocol):
    """A model of any kind."""

    def scores(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Scores, shape ``(n,)``: probabilities of up, or returns in the target's unit."""
        ...


class Strategy(NamedTuple):
    """A model and how its scores are traded."""

    model: Scorer
    calibration: Calibration
    threshold: float = 0.0

    def expected_return(self, data: SymbolData, rows: slice) -> npt.NDArray[np.float64]:
        """Of a symbol's bars, as a fraction of the price."""
        if rows.stop <= rows.start:
            return np.empty(0)
        scores = self.model.scores(data.features.values[rows])
        if data.side is not None:
            scores = directed(scores, data.side[rows])
        return self.calibration.expected_return(scores, data.tick[rows])


class SymbolPeriod(NamedTuple):
    """One symbol's backtest over one period.

    ``ts_ns`` and ``day`` are those of its bars, ``timezone`` and ``days_per_year`` are its exchange's.
    """

    symbol: str
    ts_ns: npt.NDArray[np.int64]
    day: npt.NDArray[np.int32]
    result: BacktestResult
    timezone: str = "UTC"
    days_per_year: int = TRADING_DAYS_PER_YEAR


def calibrate(
    scores: npt.NDArray[np.float64],
    ret: npt.NDArray[np.float64],
    tick: npt.NDArray[np.float64],
    config: ExperimentConfig,
) -> Calibration:
    """Least squares of ``ret = slope * (score - centre)`` through the origin, of scores in ticks times the tick.

    A regression's scores expect a return themselves, so that a slope of 1 says that they are right in size. One that
    was trained net of costs predicts what is left of a return, and its slope finds the gross return again that the
    decision rule holds against the costs: they are taken off once.

    The slope is at least 0: where scores and returns disagree, the model has no edge, and trading against it would
    be a choice made on noise.
    """
    plain = Calibration(slope=1.0)
    if config.regression:
        unit: Literal["fraction", "ticks"] = "ticks" if config.label.target == "ticks" else "fraction"
        plain = Calibration(slope=1.0, centre=0.0, unit=unit)
    centred = plain.expected_return(scores, tick)
    power = float(centred @ centred)
    slope = max(0.0, float(centred @ ret) / power) if power > 0.0 else 0.0
    return msgspec.structs.replace(plain, slope=slope)


def rows_between(data: SymbolData, start_ns: int, end_ns: int) -> slice:
    """Rows whose bars close in ``[start_ns, end_ns)``."""
    first, last = np.searchsorted(data.bars["ts_close_ns"], (start_ns, end_ns), side="left")
    return slice(int(first), int(last))


def round_trip_costs(data: SymbolData, rows: slice) -> npt.NDArray[np.float64]:
    """Cost of a round trip at each bar's close, as a fraction of the price."""
    return round_trip_cost_fractions(data.bars["close"][rows], data.costs)


def backtest_period(
    symbols: Sequence[SymbolData], strategy: Strategy, config: ExperimentConfig, start_ns: int, end_ns: int
) -> list[SymbolPeriod]:
    """Trade every symbol's bars that close in ``[start_ns, end_ns)``; each starts and ends flat."""
    periods = []
    for data in symbols:
        rows = rows_between(data, start_ns, end_ns)
        bars = data.bars[rows]
        result = backtest_rows(data, rows, strategy, config)[0]
        market = data.timezone, data.days_per_year
        periods.append(SymbolPeriod(data.span.symbol, bars["ts_close_ns"], bars["day"], result, *market))
    return periods


def backtest_rows(
    data: SymbolData, rows: slice, strategy: Strategy, config: ExperimentConfig
) -> tuple[BacktestResult, PrintBacktest | None]:
    """Trade some rows: bar by bar, or print by print where the data has the prints."""
    columns, named = backtest_arguments(data, rows, strategy, config)
    if data.orders is None:
        return run_backtest(*columns, **named), None
    done = data.orders.run(rows, columns, named)
    return done.result, done


def backtest_arguments(
    data: SymbolData, rows: slice, strategy: Strategy, config: ExperimentConfig
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of ``run_backtest`` for some rows of a strategy, by position and by name."""
    return backtest_columns(data, rows, strategy.expected_return(data, rows), config, strategy.threshold)


def backtest_columns(
    data: SymbolData,
    rows: slice,
    expected: npt.NDArray[np.float64],
    config: ExperimentConfig,
    threshold: float = 0.0,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of ``run_backtest`` for some rows, by position and by name.

    Every price is there: ``etl.order_fills`` refuses a bar without a fill. What fills pay besides scales with a bar's
    own volatility and lots, known when it closes.

    Args:
        expected: fraction of the price, one per row.
    """
    bars = data.bars[rows]
    columns = (
        bars["ts_close_ns"],
        bars["close"],
        data.fill_price[rows],
        bars["day"],
        bars["session_close_ns"],
        data.session_end[rows],
        data.usable[rows],
        expected,
        config.decision_params(threshold),
        data.costs,
        config.backtest.lots,
    )
    return columns, {
        "frictions": data.frictions,
        "spread": None if data.spread is None else data.spread[rows],
        "volatility": np.sqrt(bars["realised_var"]),
        "volume": bars["volume"],
        "days_per_year": data.days_per_year,
    }


def choose_threshold(
    symbols: Sequence[SymbolData],
    strategy: Strategy,
    config: ExperimentConfig,
    start_ns: int,
    end_ns: int,
) -> float:
    """The threshold with the best net return over a period, all symbols together.

    Tried are none at all and quantiles of the edges beyond cost that occur; those that leave too few trades
    do not count. 0 where the model never sees an edge.
    """
    scored, beyond = [], []
    for data in symbols:
        rows = rows_between(data, start_ns, end_ns)
        expected = strategy.expected_return(data, rows)
        excess = np.abs(expected) - round_trip_costs(data, rows)
        beyond.append(excess[data.usable[rows] & (excess > 0.0)])
        scored.append((data, rows, expected))
    edges = np.concatenate(beyond)
    if not len(edges):
        return 0.0
    thresholds = np.concatenate(([0.0], np.quantile(edges, _QUANTILES)))
    net, trades = np.zeros(len(thresholds)), np.zeros(len(thresholds), np.int64)
    for data, rows, expected in scored:
        if data.orders is not None:
            # Every threshold makes orders of its own.
            for k, threshold in enumerate(thresholds):
                columns, named = backtest_columns(data, rows, expected, config, float(threshold))
                kpis = data.orders.run(rows, columns, named).result.kpis
                net[k] += kpis.net_return
                trades[k] += kpis.n_trades
            continue
        columns, named = backtest_columns(data, rows, expected, config)
        swept = sweep_thresholds(thresholds, *columns, **named)
        net += swept.net_return
        trades += swept.n_trades
    counts = trades >= _MIN_TUNE_TRADES
    if not counts.any():
        return 0.0
    return float(thresholds[int(np.argmax(np.where(counts, net, -np.inf)))])


def relaxed_threshold(
    symbols: Sequence[SymbolData],
    strategy: Strategy,
    rate: float,
    start_ns: int,
    end_ns: int,
) -> float:
    """The threshold, below zero if need be, at which a share ``rate`` of the usable rows shows an edge."""
    beyond = []
    for data in symbols:
        rows = rows_between(data, start_ns, end_ns)
        if rows.stop > rows.start:
            expected = strategy.expected_return(data, rows)
            beyond.append((np.abs(expected) - round_trip_costs(data, rows))[data.usable[rows]])
    edges = np.concatenate(beyond)
    # The rule asks for strictly more, and few trees give few different scores: take in the ties.
    return float(np.quantile(edges, 1.0 - rate)) - _TIE if len(edges) else 0.0
