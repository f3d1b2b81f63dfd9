"""Combinatorial paths of an experiment: whole, out of sample, in the report."""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.common.errors import ConfigError, SourceError
from tapelab.common.experiments.parts import CombinatorialConfig
from tapelab.trainer.dataset import pool
from tapelab.trainer.etl import compute
from tapelab.trainer.paths import describe_paths, run_split, split_paths
from tests.services.trainer.data import config, instruments, loaded, samples, symbols
from tests.services.trainer.unseen import other_samples, other_symbols

ASKED = CombinatorialConfig(groups=4, test_groups=2)


def test_every_path_trades_every_group_by_models_that_have_not_seen_it() -> None:
    pooled = samples()
    splits = split_paths(pooled, config(), ASKED)
    outcomes = [run_split(pooled, symbols(), split, config(), 1, lambda: False) for split in splits]
    report = describe_paths(outcomes, pooled, config())
    assert (report["n_splits"], len(report["paths"])) == (6, 3)
    assert all(path["auc"] > 0.53 for path in report["paths"])
    assert len({path["net_return"] for path in report["paths"]}) == 3
    assert report["sharpe_block_lowest"] <= report["sharpe_block_median"]
    total = sum(period.result.kpis.net_return for o in outcomes for group in o.periods for period in group)
    assert sum(path["net_return"] for path in report["paths"]) == pytest.approx(total)


@pytest.mark.parametrize("number", [0, 1, 4])
@pytest.mark.parametrize("raw", [False, True])
def test_what_is_tested_changes_no_model(number: int, raw: bool) -> None:
    asked = config(feature_set="core_raw", normaliser={"min_rows": 50}) if raw else config()
    data = tuple(compute(item, asked, instruments()) for item in loaded()) if raw else symbols()
    pooled = pool(data)
    split = split_paths(pooled, asked, ASKED)[number]
    held = np.isin(np.arange(pooled.n), np.concatenate(split.tests))
    times = [pooled.ts_start_ns[rows] for rows in split.tests]
    spans = [(int(ts.min()), int(ts.max()) + 1) for ts in times]
    outcome = run_split(pooled, data, split, asked, 1, lambda: False)
    changed = run_split(other_samples(pooled, held), other_symbols(data, spans), split, asked, 1, lambda: False)
    assert changed.model.calibration == outcome.model.calibration
    assert changed.model.threshold == outcome.model.threshold
    assert changed.normaliser == outcome.normaliser
    assert (outcome.normaliser is not None) == raw
    assert np.array_equal(changed.model.model.scores(pooled.x), outcome.model.model.scores(pooled.x))
    # The change does reach what is tested.
    assert not np.array_equal(changed.scores[0], outcome.scores[0])
    assert changed.periods[0][0].result.kpis != outcome.periods[0][0].result.kpis


def test_weights_reach_the_models_of_the_paths_as_they_do_those_of_the_folds() -> None:
    pooled, data = samples(), symbols()
    weighted, plain = config(label={"weights": "uniqueness", "time_decay": 0.5}), config()
    part = split_paths(pooled, plain, ASKED)[0]
    one = run_split(pooled, data, part, weighted, 1, lambda: False)
    two = run_split(pooled, data, part, plain, 1, lambda: False)
    assert not np.array_equal(one.scores[0], two.scores[0])


def test_what_is_too_short_or_leaves_nothing_to_learn_from_is_refused() -> None:
    few = type(samples())(*(column[:12] for column in samples()[:-1]))
    with pytest.raises(SourceError, match="too short for the combinatorial validation"):
        split_paths(few, config(), CombinatorialConfig(groups=6, test_groups=2))
    with pytest.raises(ConfigError, match="got 3 of 4 tested"):
        config(validation={"combinatorial": {"groups": 4, "test_groups": 3}})
