"""An experiment's configuration: complete by default, strict about what it is given."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tapelab.common.errors import ConfigError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import (
    DecisionConfig,
    GateConfig,
    LabelConfig,
    ModelParams,
    NormaliserConfig,
    ValidationConfig,
)
from tapelab.common.experiments.reading import load_config, parse_config
from tapelab.common.instruments import Costs


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
        ({"label": {"kind": "quantile"}}, "quantile"),
        ({"label": {"upper": 2}}, "upper"),
        ({"label": {"kind": "triple_barrier", "target": "net"}}, "target"),
        ({"label": {"kind": "triple_barrier", "event_threshold": 2}}, "event_threshold"),
        ({"label": {"kind": "triple_barrier", "unit": "bps", "half_life": 9}}, "half_life"),
        ({"source": {"kind": "file"}}, "source.path"),
        ({"source": {"kind": "file", "format": "lean"}}, "source.path"),
        ({"source": {"path": "a\x00b"}}, "source.path"),
        ({"spans": [{"symbol": "A", "stream": 1, "first_seq": 5, "last_seq": 4}]}, "first_seq <= last_seq"),
        ({"validation": {"n_folds": 0}}, "n_folds"),
        ({"name": "../x"}, "name"),
        ({"name": ".x"}, "name"),
        ({"name": "x\n"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"symbols": ["WIN Z"]}, r"symbols\[0\]"),
        ({"wait_s": 601}, "wait_s <= 600"),
        ({"bars": "time:1e300s"}, "bars"),
        ({"backtest": {"queue": "5x"}}, "fields that market orders read, got queue"),
        ({"backtest": {"orders": "limit", "fills": "bars"}}, "fields that limit orders read, got fills"),
        ({"backtest": {"orders": "limit", "then": "market"}}, "fields that limit orders read, got then"),
        ({"backtest": {"orders": "limit", "queue": "many"}}, "backtest.queue"),
        ({"backtest": {"orders": "limit", "queue": -1}}, "backtest.queue"),
        ({"backtest": {"orders": "limit", "queue": "5y"}}, "a multiple of the mean print such as 10x, or inf"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(raw: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_config(raw)


@pytest.mark.parametrize("queue", ["10x", "2.5x", "20", "0.001", "inf", 20, 0])
def test_a_queue_is_a_number_a_multiple_or_endless(queue: Any) -> None:
    traded = parse_config({"backtest": {"orders": "limit", "queue": queue, "patience_s": 5, "then": "market"}}).backtest
    assert str(traded.queue) == str(queue)
    assert traded.by_ticks
    assert not parse_config({}).backtest.by_ticks
    assert parse_config({"backtest": {"fills": "ticks"}}).backtest.by_ticks


def test_the_experiments_that_come_with_the_project_fit(repository: Path) -> None:
    files = sorted((repository / "config" / "experiments").glob("*.yaml"))
    assert len(files) >= 2
    for file in files:
        load_config(file)


def test_the_readme_shows_the_defaults(repository: Path) -> None:
    text = (repository / "services" / "trainer" / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    raw = yaml.safe_load(shown)
    assert parse_config(raw) == parse_config({"name": "default", "symbols": raw["symbols"]})


def test_a_file_that_is_no_configuration_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected keys and values, got list"):
        load_config(tmp_path / "list.yaml")
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "missing.yaml")


_NUMBERS = [
    (*place, field.name)
    for place, struct in (
        ((), ExperimentConfig),
        (("label",), LabelConfig),
        (("normaliser",), NormaliserConfig),
        (("model",), ModelParams),
        (("validation",), ValidationConfig),
        (("costs",), Costs),
        (("decision",), DecisionConfig),
        (("gate",), GateConfig),
    )
    for field in msgspec.structs.fields(struct)
    if any(kind in str(field.type) for kind in ("int", "float")) and "Span" not in str(field.type)
]


@pytest.mark.parametrize("place", _NUMBERS, ids=".".join)
@pytest.mark.parametrize("value", [-1, math.nan, "nan", math.inf, -math.inf, 1e300, 10**30])
def test_no_number_may_be_negative_undefined_or_so_large_that_it_overflows(place: tuple[str, ...], value: Any) -> None:
    raw: Any = value
    for name in reversed(place):
        raw = {name: raw}
    with pytest.raises(ConfigError, match=re.escape(".".join(place))):
        parse_config(raw)


@pytest.mark.parametrize("extreme", ["ge", "le"])
def test_the_ends_of_every_range_can_be_computed_with(extreme: str) -> None:
    s = {"ge": 0.001, "le": 86_400.0}[extreme]
    config = parse_config(
        {
            "label": {"horizon_s": s},
            "validation": {"embargo_s": s},
            "decision": {"cooldown_s": s, "max_hold_s": s, "flatten_s": s, "valid_s": s},
        }
    )
    assert config.horizon_ns == config.embargo_ns == config.decision_params(0.0).max_hold_ns == round(s * 1e9)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"model": {"seed": "x"}}, "expected model.seed: a whole number, got 'x'; "),
        ({"costs": {"fee_bps": -1}}, "expected costs.fee_bps >= 0, got -1; "),
        ({"costs": {"fee": 1}}, "expected only fields that costs has, got the unknown costs.fee; "),
        ({"spans": [{"symbol": "A"}]}, "expected spans[0].stream, got nothing; "),
        (
            {"label": {"kind": "x"}},
            "expected label.kind: one of meta, regression, sign_return, triple_barrier, got 'x'; ",
        ),
        ({"normaliser": {"kind": "x"}}, "expected normaliser.kind: one of robust, zscore, got 'x'; "),
        ({"label": {"primary": {}}}, "expected label.primary.feature, got nothing; "),
        ({"bars": "tick:many"}, "expected bars: tick:200, volume:5000, dollar:5e6 or time:1s, got 'tick:many'; "),
        ({"name": "\x1b[31m"}, "got '\\x1b[31m'; "),
        ({1: 2}, "expected fields that are named by texts, got another key; "),
    ],
)
def test_an_error_is_one_sentence_that_says_expected_and_got_once(raw: Any, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(raw, "x")
    text = str(raised.value)
    assert text.startswith("x does not fit: expected ")
    assert says in text
    assert (text.lower().count("expected"), text.count(", got ")) == (1, 1)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00secret", b"name: \x00secret", b"secret: [1", b"at: 2024-99-99", b"[" * 5_000, b"\tsecret: x"],
)
def test_a_file_that_is_no_yaml_text_is_one_line_without_its_content(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot read") as raised:
        load_config(tmp_path / "x.yaml")
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)
