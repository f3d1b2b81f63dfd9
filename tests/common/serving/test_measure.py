"""Choosing a runtime by measurement."""

from __future__ import annotations

import pytest

from tapelab.common.clock import SystemClock
from tapelab.common.errors import ModelMismatch
from tapelab.common.serving.candidate import Candidate
from tapelab.common.serving.measure import fastest, measure_candidates
from tests.common.serving.models import booster, model_onnx, model_txt, rows


def candidate(backend: str, one: float, many: float, refused: str = "") -> Candidate:
    times = {"1": one, "64": many}
    return Candidate(
        backend=backend, p50_us=times, p99_us=times, max_abs_diff=0.0, batch_invariant=True, refused=refused
    )


def test_every_runtime_is_timed_and_held_against_the_trained_model() -> None:
    x = rows(130)
    measured = measure_candidates(
        {"model.txt": model_txt(), "model.onnx": model_onnx()},
        x,
        booster().predict(x),
        tolerance=1e-6,
        clock=SystemClock(),
        repeats=20,
    )
    assert set(measured) == {"lightgbm", "treelite", "onnxruntime"}
    for found in measured.values():
        assert not found.refused
        assert found.batch_invariant
        assert found.max_abs_diff is not None
        assert found.max_abs_diff <= 1e-6
        assert 0 < found.p50_us["1"] <= found.p99_us["1"]
        assert found.p50_us["64"] > 0
    assert fastest(measured) in measured


def test_a_runtime_that_disagrees_or_does_not_load_may_not_serve() -> None:
    x = rows(70)
    measured = measure_candidates(
        {"model.txt": model_txt(seed=3), "model.onnx": b"rubbish"},
        x,
        booster().predict(x),
        tolerance=1e-6,
        clock=SystemClock(),
        repeats=2,
    )
    assert "differs from the trained model" in measured["lightgbm"].refused
    assert "cannot be loaded by ONNX Runtime" in measured["onnxruntime"].refused
    with pytest.raises(ModelMismatch, match=r"no runtime may serve the model.*check the conversion"):
        fastest(measured)


def test_the_fastest_that_may_serve_wins_over_both_batch_sizes() -> None:
    candidates = [
        candidate("lightgbm", 4.0, 400.0),
        candidate("onnxruntime", 7.0, 100.0),
        candidate("treelite", 1.0, 1.0, refused="differs"),
    ]
    assert fastest({c.backend: c for c in candidates}) == "onnxruntime"
