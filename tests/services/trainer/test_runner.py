"""One experiment end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tapelab.common.clock import ManualClock, SystemClock
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.serving.load import load_manifest, load_model
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.ledger import FileLedger, PostgresLedger
from tapelab.common.storage.pointers import read_pointers
from tapelab.common.storage.registry import Registry
from tapelab.trainer import gate
from tapelab.trainer.progress import Stopped
from tapelab.trainer.runner import Deps, run_experiment
from tapelab.trainer.sources import FileSource
from tapelab.trainer.strategy import round_trip_costs
from tests.services.trainer.data import SMALL, TAPE, config, instruments, pipeline, samples, symbols

pytestmark = pytest.mark.slow

#: Wide enough for the small tape, whose few trades are weak evidence.
EASY = {
    "p_value": 0.9,
    "mean_block": 1.0,
    "min_trades": 1,
    "min_deflated_sharpe": 0.0,
    "max_latency_us": 1e6,
    "n_boot": 500,
    "require_live": False,
}


@pytest.fixture(autouse=True)
def _easy_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tapes are too short for the real limits."""
    monkeypatch.setattr(gate, "POLICY", msgspec.convert(EASY, gate.GateConfig))


def deps(folder: Path, **changes: Any) -> Deps:
    fields: dict[str, Any] = {
        "clock": SystemClock(),
        "instruments": instruments(),
        "pipeline": pipeline(),
        "source": FileSource(instruments()),
        "store": ArtifactStore(folder),
        "code_version": "test",
        "num_threads": 1,
    }
    return Deps(**(fields | changes))


async def run(config: ExperimentConfig, deps: Deps) -> tuple[dict[str, Any], list[tuple[str, float]]]:
    steps: list[tuple[str, float]] = []

    async def report(stage: str, fraction: float, data: dict[str, Any]) -> None:
        msgspec.json.encode(data)
        steps.append((stage, fraction))

    return await run_experiment(config, deps, report), steps


async def test_a_good_model_is_stored_registered_and_made_champion(tmp_path, pool, redis_client) -> None:
    registry, ledger = Registry(pool, redis_client, ManualClock()), PostgresLedger(pool)
    result, steps = await run(config(gate=EASY), deps(tmp_path, registry=registry, ledger=ledger))
    assert result["gate"]["passed"], [rule for rule in result["gate"]["rules"] if not rule["passed"]]
    (pointer,) = await read_pointers(redis_client)
    assert (pointer.role, pointer.mode, pointer.digest) == ("champion", "live", result["digest"])
    row = await registry.model(result["model_id"])
    assert row.passed
    assert len(row.gate) == 10
    (counted,) = await pool.fetch("SELECT * FROM trials")
    assert counted["data_digest"] == result["data_digest"]
    assert sum(counted["returns"]) == pytest.approx(result["metrics"]["pooled"]["model"]["net_return"])
    assert result["metrics"]["trials"]["counted_in"] == "the table trials"

    store = ArtifactStore(tmp_path)
    manifest = load_manifest(pointer.digest, store)
    assert manifest.training["data_digest"] == result["data_digest"]
    assert [span["symbol"] for span in manifest.training["spans"]] == ["BOVA11", "WDOZ26", "WINZ26"]
    assert manifest.decision.max_hold_ns == manifest.label.horizon_ns == 30_000_000_000
    assert manifest.decision.threshold >= 0.0
    assert manifest.calibration.slope > 0.0
    scores = load_model(manifest, store).predict(samples().x[:200])
    assert np.ptp(scores) > 0.01

    fractions = [fraction for _, fraction in steps]
    assert fractions == sorted(fractions)
    assert [stage for stage, _ in steps if stage in ("frozen", "evaluated", "gate", "promotion")] == [
        "frozen",
        "evaluated",
        "gate",
        "promotion",
    ]


async def test_without_an_edge_the_model_is_refused_and_runs_as_a_shadow_that_shows_signals(
    tmp_path, pool, redis_client
) -> None:
    registry = Registry(pool, redis_client, ManualClock())
    nothing = config(source=SMALL["source"] | {"path": f"{TAPE},edge=0"})
    result, _ = await run(nothing, deps(tmp_path, registry=registry))
    assert not result["gate"]["passed"]
    assert "net_vs_flat" in [rule["id"] for rule in result["gate"]["rules"] if not rule["passed"]]
    (pointer,) = await read_pointers(redis_client)
    assert (pointer.role, pointer.mode) == ("challenger", "shadow")
    (change,) = await registry.history()
    assert change.reason.startswith("refused by the gate: net_vs_flat")
    manifest = load_manifest(pointer.digest, ArtifactStore(tmp_path))
    assert manifest.calibration.slope > 0.0
    shown = usable = 0
    for data in symbols(f"{TAPE},edge=0"):
        scores = load_model(manifest, ArtifactStore(tmp_path)).predict(data.features.values)
        edge = round_trip_costs(data, slice(0, len(data.bars))) + manifest.decision.threshold
        shown += int((np.abs(manifest.calibration.slope * (scores - 0.5)) > edge)[data.usable].sum())
        usable += int(data.usable.sum())
    assert shown / usable > 0.005
    assert manifest.metrics["gate_passed"] is False


async def test_the_same_experiment_trains_the_same_model(tmp_path) -> None:
    first, _ = await run(config(gate=EASY), deps(tmp_path, clock=SystemClock()))
    again, _ = await run(config(gate=EASY), deps(tmp_path, clock=SystemClock()))
    store = ArtifactStore(tmp_path)
    one, two = load_manifest(first["digest"], store), load_manifest(again["digest"], store)
    assert one.files["model.onnx"] == two.files["model.onnx"]
    assert (one.decision, one.calibration, one.metrics) == (two.decision, two.calibration, two.metrics)
    assert first["data_digest"] == again["data_digest"]
    assert one.model_id != two.model_id


async def test_combinatorial_paths_are_told_and_make_no_other_trial(tmp_path) -> None:
    asked = {"n_folds": 3, "combinatorial": {"groups": 4, "test_groups": 2}}
    ledger = FileLedger(tmp_path / "trials.jsonl")
    await run(config(gate=EASY), deps(tmp_path, ledger=ledger))
    result, steps = await run(config(gate=EASY, validation=asked), deps(tmp_path, ledger=ledger))
    report = result["metrics"]["combinatorial"]
    assert (report["n_splits"], len(report["paths"])) == (6, 3)
    assert result["metrics"]["trials"]["n_trials"] == 1
    fractions = [fraction for _, fraction in steps]
    assert fractions == sorted(fractions)
    assert [stage for stage, _ in steps].count("combinatorial") == 6


async def test_live_vectors_that_differ_refuse_the_model(tmp_path) -> None:
    async def none_came(symbols: Any) -> list[Any]:
        return []

    strict = config(gate=EASY | {"require_live": True})
    result, _ = await run(strict, deps(tmp_path, live_vectors=none_came))
    assert [rule["id"] for rule in result["gate"]["rules"] if not rule["passed"]] == ["parity_live"]
    assert result["pointer"] is None


async def test_an_experiment_that_is_stopped_leaves_nothing_behind(tmp_path, pool, redis_client) -> None:
    registry = Registry(pool, redis_client, ManualClock())
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 12

    with pytest.raises(Stopped):
        await run(config(gate=EASY), deps(tmp_path, registry=registry, should_stop=should_stop))
    assert await registry.models() == []
    assert await read_pointers(redis_client) == []
