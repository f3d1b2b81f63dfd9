"""Every kind of label an experiment can name, from its prints to a trained fold."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from tapelab.common.experiments.parts import LabelConfig
from tapelab.quant.labels.triple_barrier import triple_barrier_bars
from tapelab.trainer.cli import dataset_local, train_local
from tapelab.trainer.dataset import pool, save_binary
from tapelab.trainer.etl import compute
from tapelab.trainer.gbdt import parameters
from tapelab.trainer.labelling import training_weights
from tapelab.trainer.train import fit_final, run_fold, split
from tests.services.trainer.data import SMALL, config, instruments, loaded, samples, symbols

BARRIER: dict[str, Any] = {"kind": "triple_barrier", "horizon_s": 60, "upper": 3, "lower": 3}


def made(**label: Any) -> Any:
    """The symbols' data and samples under a label."""
    experiment = config(label=label)
    data = [compute(item, experiment, instruments()) for item in loaded()]
    return experiment, data, pool(data)


def test_barriers_end_labels_early_and_purging_uses_that_end() -> None:
    experiment, _, pooled = made(**BARRIER)
    longest = experiment.horizon_ns + experiment.latency_ns
    lasted = pooled.ts_end_ns - pooled.ts_start_ns
    assert lasted.max() == longest
    assert (lasted[pooled.moved] < longest).all()
    assert (lasted[~pooled.moved] == longest).all()
    assert 0.1 < pooled.moved.mean() < 1.0
    assert ((pooled.ret > 0) == (pooled.up == 1))[pooled.moved].all()
    for fold in split(pooled, experiment):
        assert (pooled.ts_end_ns[fold.train] < fold.tune_start_ns - experiment.embargo_ns).all()
        assert (pooled.ts_end_ns[fold.tune] < fold.test_start_ns - experiment.embargo_ns).all()


def test_a_time_out_may_be_labelled_by_its_return_and_barriers_may_be_fixed() -> None:
    _, _, zero = made(**BARRIER)
    _, _, sign = made(**BARRIER, timeout="sign")
    assert sign.moved.sum() > zero.moved.sum()
    np.testing.assert_array_equal(sign.up[zero.moved], zero.up[zero.moved])
    _, _, fixed = made(**BARRIER | {"unit": "bps"})
    assert fixed.n == zero.n
    moved = np.abs(fixed.ret[fixed.moved])
    assert moved.min() >= np.log1p(3e-4) * 0.999


def test_a_horizon_may_count_trades() -> None:
    experiment, data, pooled = made(horizon_trades=50)
    assert len(np.unique(pooled.ts_end_ns - pooled.ts_start_ns)) > 100
    for index, symbol in enumerate(data):
        rows = pooled.row[pooled.symbol == index]
        np.testing.assert_array_equal(pooled.ts_end_ns[pooled.symbol == index], symbol.labels.ts_end_ns[rows])
    fold = split(pooled, experiment)[0]
    assert run_fold(pooled, data, fold, experiment, 1, lambda: False).rounds >= 1


def test_a_horizon_in_bars_looks_for_barriers_in_their_highs_and_lows() -> None:
    experiment, data, pooled = made(kind="triple_barrier", horizon_bars=20, upper=6, lower=4, unit="bps")
    for symbol in data:
        n = len(symbol.bars)
        theirs = triple_barrier_bars(symbol.bars, upper=np.full(n, 6e-4), lower=np.full(n, 4e-4), horizon_bars=20)
        for mine, other in zip(symbol.labels, theirs, strict=True):
            np.testing.assert_array_equal(mine, other)
    assert 0.1 < pooled.moved.mean() <= 1.0
    folds = split(pooled, experiment)
    for fold in folds:
        assert (pooled.ts_end_ns[fold.tune] < fold.test_start_ns - experiment.embargo_ns).all()
    assert run_fold(pooled, data, folds[0], experiment, 1, lambda: False).rounds >= 1


def test_events_choose_the_samples_and_nothing_that_is_traded() -> None:
    _, every, all_rows = made(horizon_s=30)
    _, data, pooled = made(horizon_s=30, events="cusum", event_threshold=2)
    assert 0.05 < pooled.n / all_rows.n < 0.8
    for few, whole in zip(data, every, strict=True):
        np.testing.assert_array_equal(few.usable, whole.usable)


@pytest.mark.parametrize("weights", ["uniqueness", "return_attribution"])
def test_weights_reach_the_trees_of_a_fold_and_of_the_final_fit(weights: str, tmp_path) -> None:
    experiment = config(label={"weights": weights, "time_decay": 0.5})
    pooled, data = samples(), symbols()
    fold = split(pooled, experiment)[0]
    weighted = run_fold(pooled, data, fold, experiment, 1, lambda: False)
    plain = run_fold(pooled, data, fold, config(), 1, lambda: False)
    assert not np.array_equal(weighted.model_scores, plain.model_scores)
    assert not np.array_equal(weighted.baseline_scores, plain.baseline_scores)
    final = fit_final(pooled, data, experiment, tmp_path / "w.bin", 1, lambda: False)
    other = fit_final(pooled, data, config(), tmp_path / "p.bin", 1, lambda: False)
    assert final.model.text != other.model.text


def test_weights_come_from_the_rows_that_are_given_alone() -> None:
    pooled, bars = samples(), [data.bars for data in symbols()]

    def weigh(rows: Any, label: LabelConfig) -> Any:
        columns = (pooled.symbol, pooled.row, pooled.ts_start_ns, pooled.ts_end_ns)
        return training_weights(bars, *(column[rows] for column in columns), label)

    unique = LabelConfig(weights="uniqueness")
    rows = np.arange(0, pooled.n // 2)
    weight = weigh(rows, unique)
    assert weight.mean() == pytest.approx(1.0)
    assert (weight > 0.0).all()
    assert weigh(rows, LabelConfig()) is None
    # Rows far apart share nothing, and weigh alike.
    first = np.flatnonzero(pooled.symbol == 0)
    alone = first[np.searchsorted(pooled.ts_start_ns[first], pooled.ts_start_ns[first[0]] + np.arange(5) * 300 * 10**9)]
    np.testing.assert_allclose(weigh(alone, unique), 1.0)
    decayed = weigh(first, LabelConfig(time_decay=0.5))
    assert (np.diff(decayed) >= 0.0).all()
    assert decayed[-1] / decayed[0] == pytest.approx(2.0, rel=0.02)


def test_a_subset_of_the_binary_data_set_keeps_its_weights(tmp_path) -> None:
    pooled = samples()
    weight = np.linspace(0.5, 1.5, pooled.n)
    options = parameters(config().model, 1)
    data = save_binary(pooled, config().features.names, options, tmp_path / "d.bin", weight=weight).construct()
    rows = np.arange(10, pooled.n, 7)
    part = data.subset(rows.tolist()).construct()
    np.testing.assert_allclose(part.get_weight(), weight[rows], rtol=1e-6)


@pytest.mark.parametrize("target", ["log_return", "ticks", "net"])
def test_a_regressions_targets_are_written(target: str, tmp_path) -> None:
    raw = SMALL | {"label": {"kind": "regression", "target": target, "weights": "uniqueness"}}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(raw))
    dataset_local(tmp_path / "x.yaml", tmp_path)
    table = pq.read_table(tmp_path / "samples.parquet")
    ret, values = table["ret"].to_numpy(), table["target"].to_numpy()
    assert np.isfinite(values).all()
    assert table["weight"].to_numpy().mean() == pytest.approx(1.0)
    if target == "log_return":
        np.testing.assert_array_equal(values, ret)
    elif target == "ticks":
        np.testing.assert_allclose(values, np.round(values), atol=1e-6)
        assert (np.sign(np.round(values)) == np.sign(ret)).all()
    else:
        assert (np.abs(values) <= np.abs(np.expm1(ret))).all()


@pytest.mark.slow
def test_an_experiment_on_barriers_becomes_a_model(tmp_path) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(SMALL | {"label": BARRIER | {"weights": "uniqueness"}}))
    result = train_local(tmp_path / "x.yaml", tmp_path)
    manifest = msgspec.json.decode((tmp_path / "manifest.json").read_bytes())
    assert manifest["label"] == {"kind": "triple_barrier", "horizon_ns": 60_000_000_000}
    assert result["model_id"] == manifest["model_id"]
