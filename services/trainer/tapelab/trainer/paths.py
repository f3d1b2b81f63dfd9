"""Many out-of-sample paths instead of one: combinatorial purged cross-validation of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.common.errors import SourceError
from tapelab.common.experiments.config import SECOND_NS, ExperimentConfig
from tapelab.common.experiments.parts import CombinatorialConfig
from tapelab.common.serving.normaliser import FittedNormaliser
from tapelab.quant.validation.combinatorial import CombinatorialSplit, combinatorial_purged, reconstruct_paths
from tapelab.quant.validation.sharpe import sharpe
from tapelab.trainer.dataset import Samples
from tapelab.trainer.etl import SymbolData
from tapelab.trainer.evaluation import block_returns, plain
from tapelab.trainer.quality import score_quality
from tapelab.trainer.strategy import Strategy, SymbolPeriod, backtest_period, choose_threshold
from tapelab.trainer.train import calibrated, fit_trees, normalised, row_weights


class SplitOutcome(NamedTuple):
    """What one split's model scored and earned on each of its test groups, and what was fitted for it."""

    split: CombinatorialSplit
    model: Strategy
    normaliser: FittedNormaliser | None
    scores: list[npt.NDArray[np.float64]]
    periods: list[list[SymbolPeriod]]


def split_paths(samples: Samples, config: ExperimentConfig, asked: CombinatorialConfig) -> list[CombinatorialSplit]:
    """The splits, each with ups and downs to train and to tune on.

    Raises:
        SourceError: the span is too short for them.
    """
    try:
        splits = combinatorial_purged(
            samples.ts_start_ns,
            samples.ts_end_ns,
            n_groups=asked.groups,
            n_test_groups=asked.test_groups,
            embargo_ns=config.embargo_ns,
            tune=True,
        )
    except ValueError as error:
        raise _too_short(samples, asked, str(error)) from error
    for split in splits:
        for name, rows in (("training", split.train), ("tune", split.tune)):
            lacking = samples.lacking(rows)
            if lacking:
                raise _too_short(samples, asked, f"the {name} part of {split.groups} has {lacking}")
    return splits


def run_split(
    samples: Samples,
    symbols: Sequence[SymbolData],
    split: CombinatorialSplit,
    config: ExperimentConfig,
    num_threads: int,
    should_stop: Callable[[], bool],
) -> SplitOutcome:
    """Fit and set up a model on what is not tested, as a fold does, and trade each test group with it.

    Raises:
        Stopped: ``should_stop`` turned true.
    """
    samples, symbols, normaliser = normalised(samples, symbols, split.train, config)
    train, tune = samples.learnable(split.train), samples.learnable(split.tune)
    weight = row_weights(samples, train, symbols, config)
    trees = fit_trees(samples, train, tune, config, num_threads, should_stop, weight)
    strategy = calibrated(trees, samples, split.tune, config)
    threshold = choose_threshold(symbols, strategy, config, *_span(samples, split.tune))
    strategy = strategy._replace(threshold=threshold)
    return SplitOutcome(
        split=split,
        model=strategy,
        normaliser=normaliser,
        scores=[trees.scores(samples.x[rows]) for rows in split.tests],
        periods=[backtest_period(symbols, strategy, config, *_span(samples, rows)) for rows in split.tests],
    )


def describe_paths(outcomes: Sequence[SplitOutcome], samples: Samples, config: ExperimentConfig) -> dict[str, Any]:
    """The report's section ``combinatorial``: every path's ranking and profit, and how far they spread."""
    scores = reconstruct_paths([o.split for o in outcomes], [o.scores for o in outcomes], samples.n)
    everything = np.arange(samples.n)
    block_ns = round(config.gate.block_s * SECOND_NS)
    rows = []
    for path, scored in enumerate(scores):
        periods = [
            period
            for outcome in outcomes
            for of_path, group in zip(outcome.split.paths, outcome.periods, strict=True)
            if of_path == path
            for period in group
        ]
        _, blocks = block_returns(periods, block_ns)
        rows.append(
            {
                "auc": score_quality(samples, everything, scored)["auc"],
                "net_return": float(blocks.sum()),
                "sharpe_block": sharpe(blocks),
                "n_trades": sum(period.result.kpis.n_trades for period in periods),
            }
        )
    ratios = np.array([row["sharpe_block"] for row in rows])
    defined = ratios[np.isfinite(ratios)]
    described: dict[str, Any] = plain(
        {
            "n_splits": len(outcomes),
            "paths": rows,
            "sharpe_block_median": np.median(defined) if len(defined) else None,
            "sharpe_block_lowest": defined.min() if len(defined) else None,
            "earning": float(np.mean([row["net_return"] > 0 for row in rows])),
        }
    )
    return described


def _span(samples: Samples, rows: npt.NDArray[np.intp]) -> tuple[int, int]:
    """Event times from the first of some samples to just after the last."""
    return int(samples.ts_start_ns[rows].min()), int(samples.ts_start_ns[rows].max()) + 1


def _too_short(samples: Samples, asked: CombinatorialConfig, detail: str) -> SourceError:
    return SourceError(
        "the span is too short for the combinatorial validation",
        expected=f"ups and downs in every training and tune part of {asked.groups} groups, {asked.test_groups} tested",
        actual=f"{samples.n} samples: {detail}",
        remedy="take a longer span, fewer groups, or a shorter horizon or embargo",
    )
