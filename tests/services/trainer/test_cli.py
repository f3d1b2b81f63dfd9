"""Experiments without a service."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
import yaml

from tapelab.common.errors import ConfigError
from tapelab.common.settings import CommonSettings
from tapelab.trainer.cli import dataset_local, train_local
from tests.services.trainer.data import CONFIG_DIR, SMALL, samples

pytestmark = pytest.mark.slow

SETTINGS = CommonSettings(config_dir=str(CONFIG_DIR))


@pytest.fixture
def experiment(tmp_path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def test_a_local_experiment_writes_model_manifest_and_result(experiment, tmp_path) -> None:
    steps: list[float] = []
    result = train_local(
        experiment,
        tmp_path / "out",
        settings=SETTINGS,
        on_progress=lambda stage, fraction, data: steps.append(fraction),
        num_threads=1,
    )
    assert steps == sorted(steps)
    assert result["pointer"] is None
    manifest = msgspec.json.decode((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["model_id"] == result["model_id"]
    assert (tmp_path / "out" / "model.txt").read_text().startswith("tree\n")
    assert (tmp_path / "out" / "dataset.bin").stat().st_size > 0
    assert msgspec.json.decode((tmp_path / "out" / "result.json").read_bytes()) == result
    trials = result["metrics"]["trials"]
    assert (trials["n_trials"], trials["counted_in"]) == (1, "trials.jsonl beside the result")

    experiment.write_text(yaml.safe_dump(SMALL | {"model": SMALL["model"] | {"num_leaves": 5}}))
    again = train_local(experiment, tmp_path / "out", settings=SETTINGS)
    trials = again["metrics"]["trials"]
    assert trials["n_trials"] == trials["pbo_trials"] == 2
    assert 0.0 <= trials["pbo"] <= 1.0
    assert trials["deflated_sharpe"] < trials["probabilistic_sharpe"]
    (rule,) = [rule for rule in again["gate"]["rules"] if rule["id"] == "deflated_sharpe"]
    assert "as the best of 2 trials" in rule["reason"]
    assert len((tmp_path / "out" / "trials.jsonl").read_bytes().splitlines()) == 2


def test_a_dataset_holds_features_labels_and_folds(experiment, tmp_path) -> None:
    described = dataset_local(experiment, tmp_path / "out", settings=SETTINGS)
    table = pq.read_table(tmp_path / "out" / "samples.parquet")
    assert table.num_rows == described["samples"] == samples().n
    assert set(described["features"]) < set(table.column_names)
    first = table.column("fold_1").to_pylist()
    fold = described["folds"][0]
    assert {part: first.count(part) for part in ("train", "tune", "test")} == {
        k: fold[k] for k in ("train", "tune", "test")
    }
    assert first.count(None) > 0
    assert (tmp_path / "out" / "dataset.bin").stat().st_size > 0


def test_a_mistake_in_the_file_is_one_clear_error(tmp_path) -> None:
    (tmp_path / "bad.yaml").write_text("bars: tick:many\n")
    with pytest.raises(ConfigError, match="tick:many"):
        train_local(tmp_path / "bad.yaml", tmp_path / "out", settings=SETTINGS)


@pytest.mark.parametrize("work", [train_local, dataset_local])
def test_an_output_folder_that_is_a_file_is_one_clear_error(work, experiment, tmp_path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="cannot write to"):
            work(experiment, out, settings=SETTINGS)
