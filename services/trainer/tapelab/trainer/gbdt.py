"""Gradient-boosted trees by LightGBM, the same on every run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.parts import ModelParams
from tapelab.trainer.progress import Stopped

Matrix = npt.NDArray[np.float32]


class Gbdt(NamedTuple):
    """A trained model; ``text`` is its ``model.txt`` with the rounds that early stopping kept.

    ``regression``: its scores are numbers of the target's unit; else they are probabilities.
    """

    text: str
    booster: lightgbm.Booster
    rounds: int
    regression: bool = False

    def scores(self, x: Matrix) -> npt.NDArray[np.float64]:
        """Scores, shape ``(n,)``."""
        return np.asarray(self.booster.predict(x, num_threads=1), np.float64)


def parameters(params: ModelParams, num_threads: int, *, regression: bool = False) -> dict[str, Any]:
    """LightGBM's parameters: deterministic, whatever the number of threads."""
    return {
        "objective": "regression" if regression else "binary",
        "metric": "l2" if regression else "binary_logloss",
        "num_leaves": params.num_leaves,
        "learning_rate": params.learning_rate,
        "min_data_in_leaf": params.min_data,
        "feature_fraction": params.feature_fraction,
        "lambda_l2": params.lambda_l2,
        "seed": params.seed,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "num_threads": num_threads,
        "verbosity": -1,
    }


def fit(
    train: lightgbm.Dataset,
    tune: lightgbm.Dataset,
    params: ModelParams,
    num_threads: int,
    should_stop: Callable[[], bool],
    *,
    regression: bool = False,
) -> Gbdt:
    """Train with early stopping on the tune split.

    Raises:
        Stopped: ``should_stop`` turned true between two rounds.
    """

    def stop_if_asked(_: Any) -> None:
        if should_stop():
            raise Stopped

    with warnings.catch_warnings():
        # Subsets of one data set share its bins, and LightGBM warns about every parameter given again.
        warnings.simplefilter("ignore", UserWarning)
        booster = lightgbm.train(
            parameters(params, num_threads, regression=regression),
            train,
            num_boost_round=params.n_estimators,
            valid_sets=[tune],
            callbacks=[lightgbm.early_stopping(params.early_stopping, verbose=False), stop_if_asked],
        )
    # At least one round, so that there is a tree to export where early stopping found no progress at all.
    rounds = max(1, booster.best_iteration)
    text = booster.model_to_string(num_iteration=rounds)
    return Gbdt(text, lightgbm.Booster(model_str=text), rounds, regression)


def fit_arrays(
    train: tuple[Matrix, npt.NDArray[Any]],
    tune: tuple[Matrix, npt.NDArray[Any]],
    params: ModelParams,
    num_threads: int,
    should_stop: Callable[[], bool],
    weight: npt.NDArray[np.float64] | None = None,
    *,
    regression: bool = False,
) -> Gbdt:
    """Train on ``(x, y)`` arrays; bins come from the training rows alone.

    Args:
        weight: of the training rows; all 1 if left out.
        regression: ``y`` is a number to predict; else it is 1 for up and 0 for down.
    """
    options = parameters(params, num_threads, regression=regression)
    train_set = lightgbm.Dataset(train[0], label=train[1], weight=weight, params=options)
    tune_set = lightgbm.Dataset(tune[0], label=tune[1], params=options, reference=train_set)
    return fit(train_set, tune_set, params, num_threads, should_stop, regression=regression)
