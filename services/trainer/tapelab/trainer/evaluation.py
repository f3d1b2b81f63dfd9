"""What the test periods say: per fold and pooled, model against baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.metrics import log_loss, roc_auc_score

from tapelab.quant.backtest.results import TRADING_DAYS_PER_YEAR
from tapelab.quant.validation.sharpe import deflated_sharpe, sharpe
from tapelab.trainer.config import SECOND_NS, ExperimentConfig
from tapelab.trainer.dataset import Samples
from tapelab.trainer.strategy import Strategy, SymbolPeriod
from tapelab.trainer.train import FoldOutcome

Floats = npt.NDArray[np.float64]


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
    """

    model_blocks: Floats
    baseline_blocks: Floats
    n_trades: int
    period_net: list[float]
    metrics: dict[str, Any]


def evaluate(outcomes: Sequence[FoldOutcome], samples: Samples, config: ExperimentConfig) -> Evaluation:
    """Pool the folds' test periods."""
    model = [period for outcome in outcomes for period in outcome.model_periods]
    baseline = [period for outcome in outcomes for period in outcome.baseline_periods]
    block_ns = round(config.gate.block_s * SECOND_NS)
    model_blocks, baseline_blocks = block_returns(model, block_ns), block_returns(baseline, block_ns)
    folds = [_fold_metrics(number, outcome, samples) for number, outcome in enumerate(outcomes, start=1)]
    tested = np.concatenate([outcome.fold.test for outcome in outcomes])
    metrics = {
        "folds": folds,
        "pooled": {
            "model": _scores(samples, tested, np.concatenate([o.model_scores for o in outcomes]))
            | _profit(model, model_blocks),
            "linear": _scores(samples, tested, np.concatenate([o.baseline_scores for o in outcomes]))
            | _profit(baseline, baseline_blocks),
            "flat": {"net_return": 0.0, "n_trades": 0},
            "n_blocks": len(model_blocks),
            "block_s": config.gate.block_s,
        },
        "by_symbol": _by_symbol(model),
    }
    return Evaluation(
        model_blocks=model_blocks,
        baseline_blocks=baseline_blocks,
        n_trades=sum(period.result.kpis.n_trades for period in model),
        period_net=[_net(outcome.model_periods) for outcome in outcomes],
        metrics=plain(metrics),
    )


def block_returns(periods: Sequence[SymbolPeriod], block_ns: int) -> Floats:
    """Net return per block of event time, all symbols together; blocks without a bar are left out."""
    ts = np.concatenate([period.ts_ns for period in periods])
    net = np.concatenate([period.result.net_return for period in periods])
    blocks, of_block = np.unique(ts // block_ns, return_inverse=True)
    return np.bincount(of_block, weights=net, minlength=len(blocks)).astype(np.float64)


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


def _scores(samples: Samples, rows: npt.NDArray[np.intp], scores: Floats) -> dict[str, float]:
    """Quality of scores on the samples whose price moved; the AUC needs both signs."""
    moved = samples.moved[rows]
    up, scored = samples.up[rows][moved], scores[moved]
    both = 0 < int(up.sum()) < len(up)
    return {
        "auc": float(roc_auc_score(up, scored)) if both else math.nan,
        "logloss": float(log_loss(up, scored, labels=[0, 1])) if len(up) else math.nan,
    }


def _profit(periods: Sequence[SymbolPeriod], blocks: Floats) -> dict[str, Any]:
    trades = np.concatenate([period.result.trades["net_return"] for period in periods])
    days = np.concatenate([period.day for period in periods])
    net = np.concatenate([period.result.net_return for period in periods])
    _, of_day = np.unique(days, return_inverse=True)
    daily = np.bincount(of_day, weights=net).astype(np.float64)
    return {
        "net_return": _net(periods),
        "n_trades": len(trades),
        "hit_rate": float(np.mean(trades > 0)) if len(trades) else math.nan,
        "mean_trade_return": float(np.mean(trades)) if len(trades) else math.nan,
        "sharpe_daily": sharpe(daily, periods_per_year=TRADING_DAYS_PER_YEAR),
        "sharpe_block": sharpe(blocks),
        "deflated_sharpe": deflated_sharpe(blocks, n_trials=1),
        "n_trials": 1,
        "n_days": len(daily),
    }


def _fold_metrics(number: int, outcome: FoldOutcome, samples: Samples) -> dict[str, Any]:
    fold = outcome.fold

    def side(strategy: Strategy, scores: Floats, periods: list[SymbolPeriod]) -> dict[str, Any]:
        return _scores(samples, fold.test, scores) | {
            "slope": strategy.slope,
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
