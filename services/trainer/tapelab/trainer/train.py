"""Purged walk-forward: a model and a baseline per fold, judged on what neither has seen; then the final fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.common.errors import SourceError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.serving.normaliser import FittedNormaliser
from tapelab.quant.validation.walk_forward import Fold, TuneSplit, purged_tune_split, purged_walk_forward
from tapelab.trainer import gbdt, linear
from tapelab.trainer.dataset import Samples, save_binary
from tapelab.trainer.etl import SymbolData
from tapelab.trainer.labelling import training_weights
from tapelab.trainer.normalising import fit_normaliser, scale
from tapelab.trainer.strategy import (
    Scorer,
    Strategy,
    SymbolPeriod,
    backtest_period,
    calibrate,
    choose_threshold,
)

Rows = npt.NDArray[np.intp]


class FoldOutcome(NamedTuple):
    """One fold: what was fitted, what it scored on the test samples and what it earned in the test period."""

    fold: Fold
    normaliser: FittedNormaliser | None
    model: Strategy
    baseline: Strategy
    rounds: int
    model_scores: npt.NDArray[np.float64]
    baseline_scores: npt.NDArray[np.float64]
    model_periods: list[SymbolPeriod]
    baseline_periods: list[SymbolPeriod]


class FinalModel(NamedTuple):
    """The model that is exported, fitted on the whole span with its last part to tune.

    Args:
        normaliser: fitted on its training rows; None where the features come ready.
        samples, symbols: as the model reads them: scaled, if it has a normaliser.
        train_slope: the calibration's slope on the rows it was trained on.
    """

    model: gbdt.Gbdt
    strategy: Strategy
    split: TuneSplit
    train_slope: float
    normaliser: FittedNormaliser | None
    samples: Samples
    symbols: Sequence[SymbolData]


def split(samples: Samples, config: ExperimentConfig) -> list[Fold]:
    """The folds of an experiment, each and the final fit with enough to learn from.

    Raises:
        SourceError: the span is too short for them.
    """
    validation = config.validation
    try:
        folds = purged_walk_forward(
            samples.ts_start_ns,
            samples.ts_end_ns,
            n_folds=validation.n_folds,
            embargo_ns=config.embargo_ns,
            mode=validation.mode,
            min_train=validation.min_train,
            tune_fraction=validation.tune_fraction,
            session=_sessions(samples, config),
        )
    except ValueError as error:
        # "fold 1 of 3 has no tune samples: expected ..."
        raise _too_short(samples, config, str(error).rpartition(": expected")[0]) from error
    final = split_final(samples, config)
    parts = [(f"fold {k}", fold.train, fold.tune) for k, fold in enumerate(folds, start=1)]
    for of, train, tune in (*parts, ("the final fit", final.train, final.tune)):
        for name, rows in (("training", train), ("tune", tune)):
            lacking = samples.lacking(rows)
            if lacking:
                raise _too_short(samples, config, f"the {name} part of {of} has {lacking}")
    return folds


def split_final(samples: Samples, config: ExperimentConfig) -> TuneSplit:
    """What the final fit learns from and is tuned on.

    Raises:
        SourceError: the span is too short.
    """
    try:
        return purged_tune_split(
            samples.ts_start_ns,
            samples.ts_end_ns,
            embargo_ns=config.embargo_ns,
            tune_fraction=config.validation.tune_fraction,
            session=_sessions(samples, config),
        )
    except ValueError as error:
        raise _too_short(samples, config, "the final fit has nothing to train or nothing to tune on") from error


def run_fold(
    samples: Samples,
    symbols: Sequence[SymbolData],
    fold: Fold,
    config: ExperimentConfig,
    num_threads: int,
    should_stop: Callable[[], bool],
) -> FoldOutcome:
    """Fit model and baseline on a fold's training part, set them up on its tune part, judge them on its test.

    Raises:
        Stopped: ``should_stop`` turned true.
    """
    samples, symbols, normaliser = normalised(samples, symbols, fold.train, config)
    train, tune = samples.learnable(fold.train), samples.learnable(fold.tune)
    weight = row_weights(samples, train, symbols, config)
    trees = fit_trees(samples, train, tune, config, num_threads, should_stop, weight)
    line = linear.fit(
        samples.x[train], samples.y[train], c=config.model.linear_c, weight=weight, regression=config.regression
    )

    def set_up(model: Scorer) -> Strategy:
        strategy = calibrated(model, samples, fold.tune, config)
        # The tune period for trading ends where purging ended it, so no position reaches into the test.
        end_ns = fold.test_start_ns - config.horizon_ns - config.latency_ns - config.embargo_ns
        if config.label.in_steps:
            end_ns = int(samples.ts_start_ns[fold.tune].max()) + 1
        return strategy._replace(threshold=choose_threshold(symbols, strategy, config, fold.tune_start_ns, end_ns))

    model, baseline = set_up(trees), set_up(line)
    period = config, fold.test_start_ns, fold.test_end_ns
    return FoldOutcome(
        fold=fold,
        normaliser=normaliser,
        model=model,
        baseline=baseline,
        rounds=trees.rounds,
        model_scores=trees.scores(samples.x[fold.test]),
        baseline_scores=line.scores(samples.x[fold.test]),
        model_periods=backtest_period(symbols, model, *period),
        baseline_periods=backtest_period(symbols, baseline, *period),
    )


def fit_final(
    samples: Samples,
    symbols: Sequence[SymbolData],
    config: ExperimentConfig,
    binary: Path,
    num_threads: int,
    should_stop: Callable[[], bool],
) -> FinalModel:
    """Fit the model to export, by the same steps as a fold, from LightGBM's binary data set.

    Args:
        binary: where the data set is written.

    Raises:
        SourceError: the span is too short.
        Stopped: ``should_stop`` turned true.
    """
    parts = split_final(samples, config)
    samples, symbols, normaliser = normalised(samples, symbols, parts.train, config)
    train, tune = samples.learnable(parts.train), samples.learnable(parts.tune)
    weight = row_weights(samples, train, symbols, config)
    if weight is not None:
        whole = np.ones(samples.n)
        whole[train] = weight
        weight = whole
    options = gbdt.parameters(config.model, num_threads, regression=config.regression)
    data = save_binary(samples, config.features.names, options, binary, weight=weight)
    data.construct()
    trees = gbdt.fit(
        data.subset(train.tolist()),
        data.subset(tune.tolist()),
        config.model,
        num_threads,
        should_stop,
        regression=config.regression,
    )
    strategy = calibrated(trees, samples, parts.tune, config)
    end_ns = int(samples.ts_start_ns.max()) + 1
    threshold = choose_threshold(symbols, strategy, config, parts.tune_start_ns, end_ns)
    train_slope = calibrated(trees, samples, parts.train, config).calibration.slope
    return FinalModel(trees, strategy._replace(threshold=threshold), parts, train_slope, normaliser, samples, symbols)


def normalised(
    samples: Samples, symbols: Sequence[SymbolData], train: Rows, config: ExperimentConfig
) -> tuple[Samples, Sequence[SymbolData], FittedNormaliser | None]:
    """Everything scaled by what the experiment's normaliser finds in the training rows, and what it found."""
    fitted = fit_normaliser(samples, train, [data.span.symbol for data in symbols], config)
    return *scale(samples, symbols, fitted), fitted


def fit_trees(
    samples: Samples,
    train: Rows,
    tune: Rows,
    config: ExperimentConfig,
    num_threads: int,
    should_stop: Callable[[], bool],
    weight: npt.NDArray[np.float64] | None,
) -> gbdt.Gbdt:
    """The trees of some rows, stopped early on others."""
    return gbdt.fit_arrays(
        (samples.x[train], samples.y[train]),
        (samples.x[tune], samples.y[tune]),
        config.model,
        num_threads,
        should_stop,
        weight,
        regression=config.regression,
    )


def calibrated(model: Scorer, samples: Samples, rows: Rows, config: ExperimentConfig) -> Strategy:
    """A model with what its scores are worth on some rows."""
    scores = samples.directed(rows, model.scores(samples.x[rows]))
    return Strategy(model, calibrate(scores, samples.ret[rows], samples.tick[rows], config))


def _sessions(samples: Samples, config: ExperimentConfig) -> npt.NDArray[np.int32] | None:
    """Trading days where the folds are cut between them."""
    return samples.day if config.validation.by == "session" else None


def row_weights(
    samples: Samples, rows: Rows, symbols: Sequence[SymbolData], config: ExperimentConfig
) -> npt.NDArray[np.float64] | None:
    """Weights of training rows, from those rows alone; none where the experiment asks for none."""
    return training_weights(
        [data.bars for data in symbols],
        samples.symbol[rows],
        samples.row[rows],
        samples.ts_start_ns[rows],
        samples.ts_end_ns[rows],
        config.label,
    )


def _too_short(samples: Samples, config: ExperimentConfig, detail: str) -> SourceError:
    validation = config.validation
    # The smallest part that must hold an up and a down, and one sample for each test period.
    smallest = validation.min_train * min(validation.tune_fraction, 1.0 - validation.tune_fraction)
    needed = math.ceil(max(2.0 / smallest, validation.n_folds / (1.0 - validation.min_train)))
    gap = f"{config.latency_ms / 1e3 + validation.embargo_s:g} s and a label's reach ({config.label.reach})"
    kinds = "different returns" if config.regression else "ups and downs"
    days = f" of {len(np.unique(samples.day))} trading days" if validation.by == "session" else ""
    return SourceError(
        "the span is too short for the validation",
        expected=f"at least {needed} samples for {validation.n_folds} folds, with {kinds} in every training and "
        f"tune part after what lies within {gap} before each cut is purged"
        + (
            f", and whole trading days for each part: validation.min_train ({validation.min_train:g}) of them for the "
            f"first training, of which validation.tune_fraction ({validation.tune_fraction:g}) tune"
            if days
            else ""
        ),
        actual=f"{samples.n} samples{days}" + (f", and {detail}" if detail else ""),
        remedy="take a longer span or a later cut, fewer folds, smaller bars, or a shorter horizon or embargo",
    )
