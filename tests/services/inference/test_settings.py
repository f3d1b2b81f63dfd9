"""Settings and live pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapelab.common.errors import ConfigError
from tapelab.common.pipeline import Pair, Pipeline, load_pipeline
from tapelab.inference.live import live_pairs
from tapelab.inference.settings import load_settings
from tapelab.quant.features.registry import FEATURE_SETS


def test_settings_have_defaults_and_are_read_from_the_environment() -> None:
    assert load_settings({}).batch_ms == 150
    assert load_settings({"TAPELAB_INFERENCE_BATCH_MS": "120"}).batch_ms == 120


@pytest.mark.parametrize("value", ["0", "-5", "9999", "soon"])
def test_a_wrong_window_fails_with_key_and_value(value: str) -> None:
    with pytest.raises(ConfigError, match=rf"TAPELAB_INFERENCE_BATCH_MS.*{value}"):
        load_settings({"TAPELAB_INFERENCE_BATCH_MS": value})


def test_live_pairs_are_canonical(repository: Path) -> None:
    core = FEATURE_SETS["core"].id
    assert ("tick:50", core) in live_pairs(load_pipeline(repository / "config"))
    pair = Pair(bars="dollar:5000000", feature_set="core")
    assert live_pairs(Pipeline(bars=(pair.bars,), features=(pair,))) == live_pairs(
        Pipeline(bars=("dollar:5e6",), features=(Pair(bars="dollar:5e6", feature_set="core"),))
    )


def test_an_unknown_feature_set_is_named() -> None:
    pipeline = Pipeline(bars=("tick:50",), features=(Pair(bars="tick:50", feature_set="nope"),))
    with pytest.raises(ConfigError, match=r"expected one of .*core.*, got nope"):
        live_pairs(pipeline)


def test_inference_has_no_track() -> None:
    with pytest.raises(ConfigError, match=r"traded twice: expected no TAPELAB_TRACK, got blue; replace the running"):
        load_settings({"TAPELAB_TRACK": "blue"})
