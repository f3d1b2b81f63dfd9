"""A normaliser of the model's own: fitted on training rows alone, and the same live as in training."""

from __future__ import annotations

import functools

import msgspec
import numpy as np
import pytest
import yaml

from tapelab.cli.check.subjects import check_normalisers
from tapelab.common.errors import ConfigError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.reading import parse_config
from tapelab.common.pipeline import Pair, Pipeline
from tapelab.common.serving.load import load_manifest, load_model
from tapelab.common.serving.normaliser import FittedNormaliser
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.quant.features import FEATURE_SETS, Normalisation
from tapelab.trainer.cli import train_local
from tapelab.trainer.dataset import Samples, pool
from tapelab.trainer.etl import SymbolData, compute
from tapelab.trainer.gate import pair_rule
from tapelab.trainer.normalising import fit_normaliser, scale
from tapelab.trainer.train import normalised, run_fold, split
from tests.services.trainer.data import SMALL, config, instruments, loaded

RAW = {"feature_set": "core_raw", "normaliser": {"kind": "zscore", "min_rows": 50}}
SPECS = FEATURE_SETS["core"].specs


def raw_config(kind: str = "zscore") -> ExperimentConfig:
    return config(**(RAW | {"normaliser": RAW["normaliser"] | {"kind": kind}}))


@functools.cache
def symbols() -> tuple[SymbolData, ...]:
    return tuple(compute(item, raw_config(), instruments()) for item in loaded())


@functools.cache
def samples() -> Samples:
    return pool(symbols())


def fitted(rows: np.ndarray, kind: str = "zscore") -> FittedNormaliser:
    found = fit_normaliser(samples(), rows, [data.span.symbol for data in symbols()], raw_config(kind))
    assert found is not None
    return found


def test_figures_are_those_of_each_symbols_training_rows() -> None:
    rows = np.arange(0, samples().n, 2)
    found = fitted(rows)
    for index, data in enumerate(symbols()):
        mine = samples().x[rows[samples().symbol[rows] == index]].astype(np.float64)
        scale_of = found.symbols[data.span.symbol]
        assert scale_of.rows == len(mine)
        for j, spec in enumerate(SPECS):
            if spec.normalisation is Normalisation.ZSCORE:
                assert scale_of.centre[j] == pytest.approx(mine[:, j].mean())
                assert scale_of.spread[j] == pytest.approx(mine[:, j].std())
            elif spec.normalisation is Normalisation.SCALE:
                assert scale_of.centre[j] == 0.0
                assert scale_of.spread[j] == pytest.approx(np.sqrt((mine[:, j] ** 2).mean()))
            else:
                assert not found.scaled[j]
    assert found.pooled.rows == len(rows)


def test_a_symbol_without_enough_rows_takes_the_figures_of_all() -> None:
    few = np.concatenate([np.flatnonzero(samples().symbol == 0), np.flatnonzero(samples().symbol == 1)[:49]])
    found = fitted(few)
    assert list(found.symbols) == [symbols()[0].span.symbol]
    _, scaled = scale(samples(), symbols(), found)
    by_pooled = msgspec.structs.replace(found, symbols={}).sealed()
    _, all_pooled = scale(samples(), symbols(), by_pooled)
    assert scaled[1].features.values.tobytes() == all_pooled[1].features.values.tobytes()
    assert scaled[0].features.values.tobytes() != all_pooled[0].features.values.tobytes()


@pytest.mark.parametrize("kind", ["zscore", "robust"])
def test_no_row_outside_the_training_part_moves_a_folds_figures(kind: str) -> None:
    for fold in split(samples(), raw_config()):
        outside = np.ones(samples().n, bool)
        outside[fold.train] = False
        x = samples().x.copy()
        x[outside] = 1e6 * (1.0 + np.abs(x[outside]))
        names = [data.span.symbol for data in symbols()]
        assert fit_normaliser(samples()._replace(x=x), fold.train, names, raw_config(kind)) == fitted(fold.train, kind)


def test_a_fold_trains_on_scaled_rows_and_trades_on_bars_scaled_alike() -> None:
    fold = split(samples(), raw_config())[0]
    rows, of_bars, found = normalised(samples(), symbols(), fold.train, raw_config())
    for index, data in enumerate(of_bars):
        mine = rows.symbol == index
        assert rows.x[mine].tobytes() == data.features.values[rows.row[mine]].tobytes()
    assert found == fitted(fold.train)
    outcome = run_fold(samples(), symbols(), fold, raw_config(), 1, lambda: False)
    assert np.ptp(outcome.model_scores) > 0.01


def test_the_leak_check_knows_a_normaliser_that_has_seen_the_test() -> None:
    clean = check_normalisers(symbols(), raw_config())
    assert list(clean) == ["normaliser zscore", "normaliser robust"]
    assert not any(clean.values())

    def of_everything(pooled: Samples, rows: np.ndarray, *rest: object) -> object:
        return fit_normaliser(pooled, np.arange(pooled.n), *rest)

    found = check_normalisers(symbols(), raw_config(), fit=of_everything)
    assert all(found.values())


def test_only_a_raw_feature_set_takes_a_normaliser_of_the_model() -> None:
    with pytest.raises(ConfigError, match="one of full_raw, core_raw for a normaliser that is fitted, got 'core'"):
        parse_config({"normaliser": {}})


@pytest.mark.slow
def test_a_model_is_served_as_it_was_trained_for_every_symbol_and_an_unseen_one(tmp_path) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(SMALL | RAW))
    result = train_local(tmp_path / "x.yaml", tmp_path)
    store = ArtifactStore(tmp_path / "artifacts")
    manifest = load_manifest(result["digest"], store)
    assert isinstance(manifest.normaliser, FittedNormaliser)
    assert manifest.feature_set_id == FEATURE_SETS["core_raw"].id
    assert set(manifest.normaliser.symbols) == {data.span.symbol for data in symbols()}
    model = load_model(manifest, store)
    for data in symbols():
        x, name = data.features.values, data.span.symbol
        whole = model.predict(x, [name])
        # One vector at a time and in company of other symbols, as they come live.
        assert [model.predict(x[i : i + 1], [name])[0] for i in range(0, 400, 7)] == whole[0:400:7].tolist()
        both = model.predict(np.concatenate([x[:50], x[:50]]), [name, *["UNSEEN"] * 49, *[name] * 50])
        assert both[50:].tobytes() == whole[:50].tobytes()
    names = {rule["id"] for rule in result["gate"]["rules"] if not rule["passed"]}
    assert "pair_live" in names
    assert {"parity_model", "parity_features"}.isdisjoint(names)
    live = Pipeline(bars=("tick:50",), features=(Pair(bars="tick:50", feature_set="core_raw"),))
    assert pair_rule(raw_config(), live).passed
