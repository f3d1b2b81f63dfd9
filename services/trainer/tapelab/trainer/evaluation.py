"""What the test periods say: per fold and pooled, model against baseline."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.config import SECOND_NS, ExperimentConfig
from tapelab.common.sources.local_time import utc_offset_ns
from tapelab.common.storage.ledger import History
from tapelab.quant.backtest.results import max_drawdown, sortino
from tapelab.quant.calendar import TRADING_DAYS_PER_YEAR
from tapelab.quant.metrics.trading import Slices, by_key, hit_rate, hour_of_day, return_by_score, weekday
from tapelab.quant.validation.block_length import automatic_block_length
from tapelab.quant.validation.bootstrap import stationary_bootstrap_sharpe_ci
from tapelab.quant.validation.sharpe import sharpe
from tapelab.trainer.dataset import Samples
from tapelab.trainer.quality import score_calibration, score_quality
from tapelab.trainer.strategy import Strategy, SymbolPeriod
from tapelab.trainer.train import FoldOutcome
from tapelab.trainer.trials import Deflation, deflate

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Evaluation(NamedTuple):
    """The pooled test periods.

    Profits are net of costs, fractions of the price of one lot, added over symbols, so that instruments of
    different size and currency weigh alike.

    Args:
        model_blocks: net return of the model per block of time in which any bar closed, in time order.
        baseline_blocks: the same blocks of the linear baseline.
        n_trades: trades of the model.
        period_net: net return of the model per test period.
        metrics: everything for people, JSON types; undefined figures are null.
        block_numbers: number (event time over the block's length) of each block.
        test_ns: event times of the first and last test sample.
        deflation: what the model's ratio is worth among all trials; None before the ledger was asked.
    """

    model_blocks: Floats
    baseline_blocks: Floats
    n_trades: int
    period_net: list[float]
    metrics: dict[str, Any]
    block_numbers: Ints = np.empty(0, np.int64)
    test_ns: tuple[int, int] = (0, 0)
    deflation: Deflation | None = None


def evaluate(outcomes: Sequence[FoldOutcome], samples: Samples, config: ExperimentConfig) -> Evaluation:
    """Pool the folds' test periods."""
    model = [period for outcome in outcomes for period in outcome.model_periods]
    baseline = [period for outcome in outcomes for period in outcome.baseline_periods]
    block_ns = round(config.gate.block_s * SECOND_NS)
    (numbers, model_blocks), (_, baseline_blocks) = block_returns(model, block_ns), block_returns(baseline, block_ns)
    folds = [_fold_metrics(number, outcome, samples) for number, outcome in enumerate(outcomes, start=1)]
    tested = np.concatenate([outcome.fold.test for outcome in outcomes])
    scores = np.concatenate([outcome.model_scores for outcome in outcomes])
    metrics = {
        "folds": folds,
        "pooled": {
            "model": score_quality(samples, tested, scores) | _profit(model, model_blocks, config),
            "linear": score_quality(samples, tested, np.concatenate([o.baseline_scores for o in outcomes]))
            | _profit(baseline, baseline_blocks, config),
            "flat": {"net_return": 0.0, "n_trades": 0},
            "n_blocks": len(model_blocks),
            "block_s": config.gate.block_s,
        },
        "by_symbol": _by_symbol(model),
        "calibration": score_calibration(samples, tested, scores),
        "deciles": _deciles(samples.directed(tested, scores), samples.ret[tested]),
        "by_hour_local": _slices(by_local_time(model, block_ns, hour_of_day)),
        "by_weekday_local": _slices(by_local_time(model, block_ns, weekday)),
    }
    return Evaluation(
        model_blocks=model_blocks,
        baseline_blocks=baseline_blocks,
        n_trades=sum(period.result.kpis.n_trades for period in model),
        period_net=[_net(outcome.model_periods) for outcome in outcomes],
        metrics=plain(metrics),
        block_numbers=numbers,
        test_ns=(int(samples.ts_start_ns[tested].min()), int(samples.ts_start_ns[tested].max())),
    )


def discount(evaluation: Evaluation, config: ExperimentConfig, history: History | None) -> Evaluation:
    """The evaluation with its ratio held against everything tried on the same data.

    Args:
        history: of the ledger, this trial included; None where nothing counts trials.
    """
    found = deflate(evaluation.model_blocks, round(config.gate.block_s * SECOND_NS), history)
    pooled = evaluation.metrics["pooled"]
    told = {
        "deflated_sharpe": found.deflated,
        "n_trials": found.n_trials,
        "effective_trials": found.effective_trials,
    }
    metrics = evaluation.metrics | {
        "pooled": pooled | {"model": pooled["model"] | plain(told)},
        "trials": plain(found.described(len(evaluation.model_blocks))),
    }
    return evaluation._replace(metrics=metrics, deflation=found)


def block_returns(periods: Sequence[SymbolPeriod], block_ns: int) -> tuple[Ints, Floats]:
    """Numbers and net returns of blocks of event time, all symbols together; those without a bar are left out."""
    ts = np.concatenate([period.ts_ns for period in periods])
    net = np.concatenate([period.result.net_return for period in periods])
    blocks, of_block = np.unique(ts // block_ns, return_inverse=True)
    return blocks, np.bincount(of_block, weights=net, minlength=len(blocks)).astype(np.float64)


def by_local_time(periods: Sequence[SymbolPeriod], block_ns: int, key_of: Callable[[Ints, int | Ints], Ints]) -> Slices:
    """Net return per block, cut by the hour or the weekday of each symbol's own exchange.

    A block of several exchanges is one observation for each hour that their clocks show; blocks of an hour or less lie
    within one, longer ones count where they begin.

    Args:
        periods: of the model.
        block_ns: length of a block.
        key_of: from event times and their zone's offsets to the key.
    """
    starts = [period.ts_ns // block_ns * block_ns for period in periods]
    keys = [key_of(start, utc_offset_ns(start, period.timezone)) for start, period in zip(starts, periods, strict=True)]
    both = np.stack([np.concatenate(starts), np.concatenate(keys)], axis=1)
    net = np.concatenate([period.result.net_return for period in periods])
    cells, of_cell = np.unique(both, axis=0, return_inverse=True)
    total = np.bincount(of_cell.reshape(-1), weights=net, minlength=len(cells)).astype(np.float64)
    return by_key(cells[:, 1], total)


def plain(value: Any) -> Any:
    """A value in JSON types: numpy scalars as Python's, undefined figures as null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _net(periods: Sequence[SymbolPeriod]) -> float:
    return float(sum(period.result.kpis.net_return for period in periods))


def _deciles(scores: Floats, ret: Floats) -> list[dict[str, Any]]:
    """Mean gross return over the horizon by decile of the score, lowest first."""
    return [
        {"n": n, "low": low, "mean_return": mean} for n, low, mean in zip(*return_by_score(scores, ret), strict=True)
    ]


def _slices(slices: Slices) -> dict[str, Any]:
    rows = [{"key": key, "n": n, "net_return": total, "t": t} for key, n, total, t in zip(*slices, strict=True)]
    return {"slices": rows, "positive": slices.positive}


def _profit(periods: Sequence[SymbolPeriod], blocks: Floats, config: ExperimentConfig) -> dict[str, Any]:
    trades = np.concatenate([period.result.trades["net_return"] for period in periods])
    days = np.concatenate([period.day for period in periods])
    net = np.concatenate([period.result.net_return for period in periods])
    ts = np.concatenate([period.ts_ns for period in periods])
    traded = sum(int(np.abs(np.diff(period.result.side.astype(np.int64), prepend=0)).sum()) for period in periods)
    _, of_day = np.unique(days, return_inverse=True)
    daily = np.bincount(of_day, weights=net).astype(np.float64)
    # Days are those on which any symbol trades.
    year = max((period.days_per_year for period in periods), default=TRADING_DAYS_PER_YEAR)
    length = automatic_block_length(blocks)
    interval = stationary_bootstrap_sharpe_ci(
        blocks, seed=config.model.seed, n_boot=config.gate.n_boot, mean_block=length
    )
    alone = deflate(blocks)
    return {
        "net_return": _net(periods),
        "n_trades": len(trades),
        "hit_rate": hit_rate(trades),
        "mean_trade_return": float(np.mean(trades)) if len(trades) else math.nan,
        "sharpe_daily": sharpe(daily, periods_per_year=year),
        "sortino_daily": sortino(daily, year),
        "max_drawdown": max_drawdown(net[np.argsort(ts, kind="stable")]),
        "lots_traded": traded,
        "lots_traded_daily": traded / len(daily) if len(daily) else math.nan,
        "sharpe_block": interval.ratio,
        "sharpe_block_low": interval.low,
        "sharpe_block_high": interval.high,
        "dependence_blocks": length,
        "deflated_sharpe": alone.deflated,
        "n_trials": 1,
        "n_days": len(daily),
    }


def _fold_metrics(number: int, outcome: FoldOutcome, samples: Samples) -> dict[str, Any]:
    fold = outcome.fold

    def side(strategy: Strategy, scores: Floats, periods: list[SymbolPeriod]) -> dict[str, Any]:
        return score_quality(samples, fold.test, scores) | {
            "slope": strategy.calibration.slope,
            "threshold": strategy.threshold,
            "net_return": _net(periods),
            "n_trades": sum(period.result.kpis.n_trades for period in periods),
        }

    return {
        "fold": number,
        "n_train": len(fold.train),
        "n_tune": len(fold.tune),
        "n_test": len(fold.test),
        "test_start_ns": str(fold.test_start_ns),
        "test_end_ns": str(fold.test_end_ns),
        "rounds": outcome.rounds,
        "model": side(outcome.model, outcome.model_scores, outcome.model_periods),
        "linear": side(outcome.baseline, outcome.baseline_scores, outcome.baseline_periods),
    }


def _by_symbol(periods: Sequence[SymbolPeriod]) -> dict[str, Any]:
    """Money per symbol, in the currency of its instrument, one lot."""
    table: dict[str, dict[str, float]] = {}
    for period in periods:
        row = table.setdefault(
            period.symbol,
            {"net_pnl": 0.0, "gross_pnl": 0.0, "costs": 0.0, "net_return": 0.0, "n_trades": 0, "turnover": 0.0},
        )
        kpis = period.result.kpis._asdict()
        for name in row:
            row[name] += kpis[name]
    return table
