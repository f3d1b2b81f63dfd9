"""Loading models: each runtime gives the trained model's scores, and nothing wrong is ever loaded."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tapelab.common.errors import ModelMismatch
from tapelab.common.serving.load import load_manifest, load_model
from tapelab.common.serving.manifest import LabelSpec, encode_manifest
from tapelab.common.serving.primary import PrimaryRule
from tapelab.trainer.export import to_onnx
from tests.common.serving.models import MemoryStore, booster, manifest, model_onnx, model_txt, regression, rows

BACKENDS = ("lightgbm", "treelite", "onnxruntime")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def files(store: MemoryStore) -> dict[str, str]:
    return {"model.txt": store.put(model_txt()), "model.onnx": store.put(model_onnx())}


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_runtime_gives_the_trained_models_scores(backend: str, store: MemoryStore) -> None:
    model = load_model(manifest(files(store), backend=backend), store)
    x = rows(200)
    tolerance = {"onnxruntime": 1e-6}.get(backend, 1e-15)
    np.testing.assert_allclose(model.predict(x), booster().predict(x), rtol=0, atol=tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_scores_alike_whatever_shares_its_call(backend: str, store: MemoryStore) -> None:
    model = load_model(manifest(files(store), backend=backend), store)
    x = rows(150)
    whole = model.predict(x)
    for size in (1, 3, 4, 5, 64, 149):
        parts = [model.predict(x[i : i + size]) for i in range(0, len(x), size)]
        assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(model.predict(np.asfortranarray(x)), whole)
    assert model.predict(x[:0]).shape == (0,)


def test_lightgbm_runs_without_its_python_package(store: MemoryStore) -> None:
    code = (
        "import sys; from tapelab.common.serving.lightgbm_backend import LightGbmModel;"
        "LightGbmModel(sys.stdin.buffer.read());"
        "assert not {'lightgbm', 'sklearn', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], input=model_txt(), check=True, timeout=60)


def test_a_file_with_other_bytes_is_refused(store: MemoryStore) -> None:
    named = files(store)
    store.files[named["model.txt"]] = model_txt(seed=3)
    with pytest.raises(ModelMismatch, match=r"other bytes.*expected sha256 .*, got sha256 .*; .*roll back"):
        load_model(manifest(named), store)


def test_a_missing_file_is_named(store: MemoryStore) -> None:
    with pytest.raises(ModelMismatch, match=r"model.txt of model .* cannot be read: expected an artifact of sha256"):
        load_model(manifest({"model.txt": "ab" * 32}), store)
    with pytest.raises(ModelMismatch, match=r"lacks the file of its runtime: expected model.onnx for onnxruntime"):
        load_model(manifest({"model.txt": "ab" * 32}, backend="onnxruntime"), store)


def test_a_model_with_other_columns_than_its_manifest_is_refused(store: MemoryStore) -> None:
    named = {"model.txt": store.put(model_txt(features=6))}
    with pytest.raises(ModelMismatch, match=r"expected 4 features, as the manifest lists, got 6 in model.txt"):
        load_model(manifest(named), store)


def test_rows_of_another_width_are_refused(store: MemoryStore) -> None:
    model = load_model(manifest(files(store)), store)
    with pytest.raises(ModelMismatch, match=r"expected rows of 4 features \(tiny\), got an array of shape \(3, 5\)"):
        model.predict(rows(3, features=5))


@pytest.mark.parametrize("backend", BACKENDS)
def test_bytes_that_are_no_model_are_refused_by_every_runtime(backend: str, store: MemoryStore) -> None:
    rubbish = store.put(b"\x80\x04\x95 a pickle is never loaded")
    named = {"model.txt": rubbish, "model.onnx": rubbish}
    with pytest.raises(ModelMismatch, match=r"cannot be loaded.*expected a binary classifier.*export the model again"):
        load_model(manifest(named, backend=backend), store)


@pytest.mark.parametrize("backend", ["lightgbm", "treelite"])
def test_a_cut_off_model_is_refused(backend: str, store: MemoryStore) -> None:
    text = model_txt()
    for end in (3, 400, len(text) // 2, text.index(b"end of trees")):
        named = {"model.txt": store.put(text[:end])}
        with pytest.raises(ModelMismatch, match=r"cannot be loaded by"):
            load_model(manifest(named, backend=backend), store)


def test_a_zipmap_output_is_refused_with_the_remedy(store: MemoryStore) -> None:
    named = {"model.onnx": store.put(model_onnx(zipmap=True))}
    with pytest.raises(ModelMismatch, match=r"convert without ZipMap"):
        load_model(manifest(named, backend="onnxruntime"), store)


def test_a_regression_is_taken_for_what_its_manifest_says(store: MemoryStore) -> None:
    text = model_txt().replace(b"objective=binary sigmoid:1", b"objective=regression")
    with pytest.raises(ModelMismatch, match=r"it has objective regression instead of binary"):
        load_model(manifest({"model.txt": store.put(text)}), store)
    label = LabelSpec(kind="regression", horizon_ns=1)
    with pytest.raises(ModelMismatch, match=r"it has objective binary instead of regression"):
        load_model(manifest(files(store), label=label), store)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_runtime_gives_a_regressions_numbers_in_any_batch(backend: str, store: MemoryStore) -> None:
    trained = regression()
    named = {"model.txt": store.put(trained.model_to_string().encode()), "model.onnx": store.put(to_onnx(trained, 4))}
    label = LabelSpec(kind="regression", horizon_ns=1)
    model = load_model(manifest(named, backend=backend, label=label), store)
    x = rows(150)
    whole, wanted = model.predict(x), trained.predict(x)
    assert wanted.min() < -1e-5 < 1e-5 < wanted.max()
    np.testing.assert_allclose(whole, wanted, rtol=0, atol={"onnxruntime": 1e-10}.get(backend, 1e-18))
    for size in (1, 3, 64):
        parts = [model.predict(x[i : i + size]) for i in range(0, len(x), size)]
        assert np.array_equal(np.concatenate(parts), whole)


def test_a_manifest_is_found_by_its_digest_and_checked(store: MemoryStore) -> None:
    original = manifest(files(store))
    digest = store.put(encode_manifest(original))
    assert digest == original.digest
    assert load_manifest(digest, store) == original
    with pytest.raises(ModelMismatch, match=r"the manifest abababababab cannot be read"):
        load_manifest("ab" * 32, store)


def test_a_first_rule_belongs_to_a_meta_label_and_reads_one_of_its_features(store: MemoryStore) -> None:
    good = LabelSpec(kind="meta", horizon_ns=1, primary=PrimaryRule(feature="b", threshold=1.0))
    model = load_model(manifest(files(store), label=good), store)
    x = rows(60)
    side = np.where(np.abs(x[:, 1]) > 1.0, np.sign(x[:, 1]), 0.0)
    wanted = 0.5 + side * np.maximum(booster().predict(x) - 0.5, 0.0)
    np.testing.assert_allclose(model.predict(x), wanted, rtol=0, atol=1e-15)
    wrong = (
        LabelSpec(kind="meta", horizon_ns=1),
        LabelSpec(horizon_ns=1, primary=PrimaryRule(feature="b")),
        LabelSpec(kind="meta", horizon_ns=1, primary=PrimaryRule(feature="z")),
    )
    for label in wrong:
        with pytest.raises(ModelMismatch, match="a first rule over one of its features where its label is a meta"):
            load_model(manifest(files(store), label=label), store)
