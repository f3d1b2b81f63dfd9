"""Experiments that predict a return instead of a direction."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tapelab.common.schemas.features import FeatureVector
from tapelab.common.serving.load import load_manifest, load_model
from tapelab.common.serving.manifest import Manifest
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.pointers import Pointer
from tapelab.inference.admission import Admitted, Item
from tapelab.inference.context import Context, bind, costs_of, encode_context, view_of
from tapelab.inference.stage import InferenceStage
from tapelab.trainer import linear
from tapelab.trainer.cli import train_local
from tapelab.trainer.dataset import Samples, pool
from tapelab.trainer.etl import SymbolData, compute
from tapelab.trainer.evaluation import evaluate
from tapelab.trainer.strategy import Strategy, calibrate
from tapelab.trainer.train import run_fold, split
from tests.services.inference.vectors import vector
from tests.services.trainer.data import SMALL, config, instruments, loaded

TARGETS = ("log_return", "ticks", "net")


def label(target: str) -> dict[str, Any]:
    return {"label": {"kind": "regression", "target": target, "horizon_s": 30}}


@functools.cache
def symbols(target: str) -> tuple[SymbolData, ...]:
    return tuple(compute(item, config(**label(target)), instruments()) for item in loaded())


@functools.cache
def samples(target: str) -> Samples:
    return pool(symbols(target), config(**label(target)))


def promoted(manifest: Manifest) -> bytes:
    """The context of a model that decides live."""
    pointer = Pointer(
        role="champion",
        symbol="default",
        mode="live",
        model_id=manifest.model_id,
        digest=manifest.digest,
        version=1,
        set_ns=1,
    )
    return encode_context(Context(pointers=(bind(pointer, manifest),), costs=costs_of(instruments())))


def test_the_linear_baseline_is_a_ridge_regression_over_standardised_features() -> None:
    pooled = samples("log_return")
    ours = linear.fit(pooled.x, pooled.y, c=0.5, regression=True).scores(pooled.x)
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=2.0))
    x = pooled.x.astype(np.float64)
    assert ours == pytest.approx(theirs.fit(x, pooled.target).predict(x), abs=1e-12)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_finds_the_planted_edge_and_reports_errors_instead_of_probabilities(target: str) -> None:
    pooled, asked = samples(target), config(**label(target))
    outcomes = [run_fold(pooled, symbols(target), fold, asked, 1, lambda: False) for fold in split(pooled, asked)]
    metrics = evaluate(outcomes, pooled, asked).metrics
    model, line = metrics["pooled"]["model"], metrics["pooled"]["linear"]
    assert model.keys() >= {"rmse", "mae", "r2", "r2_over_zero", "rank_correlation", "auc", "pr_auc", "net_return"}
    assert model.keys().isdisjoint({"logloss", "brier", "calibration_error"})
    assert model["rank_correlation"] > 0.1
    assert model["auc"] > 0.55
    assert line["rmse"] > 0.0
    assert sum(row["n"] for row in metrics["calibration"]["bins"]) == sum(row["n"] for row in metrics["deciles"])
    tested = np.concatenate([outcome.fold.test for outcome in outcomes])
    scores = np.concatenate([outcome.model_scores for outcome in outcomes])
    assert model["rmse"] == pytest.approx(np.sqrt(np.mean((pooled.target[tested] - scores) ** 2)))


@pytest.mark.parametrize("target", TARGETS)
def test_predictions_of_any_unit_expect_returns_of_the_same_size(target: str) -> None:
    pooled, asked = samples(target), config(**label(target))
    # A model that knows the target itself.
    known = calibrate(pooled.target, pooled.ret, pooled.tick, asked)
    expected = known.expected_return(pooled.target, pooled.tick)
    assert np.corrcoef(expected, pooled.ret)[0, 1] > 0.9
    assert (expected @ pooled.ret) / (pooled.ret @ pooled.ret) == pytest.approx(1.0, abs=0.2)
    if target != "net":
        # A tick is over the close and a return over the entry: nearly the same price.
        assert known.slope == pytest.approx(1.0, abs=2e-3)
        np.testing.assert_allclose(expected, pooled.ret, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_model_decides_live_on_the_returns_it_was_judged_by(target: str, tmp_path) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(SMALL | label(target)))
    result = train_local(tmp_path / "x.yaml", tmp_path)
    broken = {"parity_model", "parity_features", "pair_live", "latency"}
    assert broken.isdisjoint(rule["id"] for rule in result["gate"]["rules"] if not rule["passed"])
    store = ArtifactStore(tmp_path / "artifacts")
    manifest = load_manifest(result["digest"], store)
    assert manifest.label.kind == "regression"
    assert manifest.calibration.centre == 0.0
    assert manifest.calibration.unit == ("ticks" if target == "ticks" else "fraction")
    assert manifest.calibration.slope > 0.0
    model = load_model(manifest, store)

    view = view_of(promoted(manifest))
    for data in symbols(target):
        offline = Strategy(_Model(model), manifest.calibration).expected_return(data, slice(0, 500))
        scores = model.predict(data.features.values[:500])
        close = data.bars["close"][:500]
        live = [
            view.bound("champion", data.span.symbol).calibration.expected_return(
                float(score), view.tick(data.span.symbol, float(price))
            )
            for score, price in zip(scores, close, strict=True)
        ]
        assert live == offline.tolist()


@pytest.mark.slow
def test_a_signal_carries_the_return_it_expects(tmp_path) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(SMALL | label("ticks")))
    result = train_local(tmp_path / "x.yaml", tmp_path)
    manifest = load_manifest(result["digest"], ArtifactStore(tmp_path / "artifacts"))
    under = promoted(manifest)
    seen: FeatureVector = vector(
        1,
        symbol="WINZ26",
        feature_set_id=manifest.feature_set_id,
        bar_spec=manifest.bar_spec,
        ref_price=130_000.0,
        values=np.zeros(len(manifest.feature_names), "<f4").tobytes(),
    )
    admitted = Admitted([Item(seen, 0, 0, False, "")], [], {}, {"duplicates": 0})
    step = InferenceStage(0).decide(admitted, {result["digest"]: np.array([40.0])}, under)
    (output,) = step.outputs
    # 40 ticks of 5 points at 130,000, as far as the calibration trusts them.
    assert output.record.expected_return == manifest.calibration.slope * 40.0 * (5.0 / 130_000.0)
    assert (output.record.side, output.record.score) == (1, 40.0)


class _Model:
    """A served model as a scorer."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def scores(self, x: np.ndarray) -> np.ndarray:
        return self._model.predict(x)
