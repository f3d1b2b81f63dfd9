"""An experiment's configuration: complete by default, strict about what it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tapelab.common.errors import ConfigError
from tapelab.trainer.config import load_config, parse_config


def test_an_empty_experiment_has_every_default() -> None:
    config = parse_config({})
    assert (config.source.kind, config.bars, config.feature_set) == ("ticks_raw", "tick:50", "core")
    assert config.decision_params(0.001) == (0.001, 1_000_000_000, config.horizon_ns, 60_000_000_000)


def test_numbers_may_come_as_strings_as_the_gateway_sends_them() -> None:
    config = parse_config({"cut_ts_ns": "1793797200000000001", "model": {"seed": "9"}})
    assert (config.cut_ts_ns, config.model.seed) == (1793797200000000001, 9)


def test_a_bar_specification_is_kept_in_its_canonical_form() -> None:
    assert parse_config({"bars": "dollar:5000000"}).bars == parse_config({"bars": "dollar:5e6"}).bars


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"modle": {}}, "modle"),
        ({"model": {"leaves": 3}}, "leaves"),
        ({"gate": {"p_value": 2}}, "p_value"),
        ({"bars": "tick:0"}, "tick:0"),
        ({"feature_set": "other"}, "other"),
        ({"symbols": ["A"], "roots": ["B"]}, "not both"),
        ({"name": "a b"}, "a b"),
        ({"label": {"kind": "regression"}}, "regression"),
        ({"source": {"kind": "file"}}, "source.path"),
        ({"spans": [{"symbol": "A", "stream": 1, "first_seq": 5, "last_seq": 4}]}, "first_seq <= last_seq"),
        ({"validation": {"n_folds": 0}}, "n_folds"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(raw: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        parse_config(raw)


def test_the_experiments_that_come_with_the_project_fit(repository: Path) -> None:
    files = sorted((repository / "config" / "experiments").glob("*.yaml"))
    assert len(files) >= 2
    for file in files:
        load_config(file)


def test_a_file_that_is_no_configuration_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected keys and values, got list"):
        load_config(tmp_path / "list.yaml")
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "missing.yaml")
