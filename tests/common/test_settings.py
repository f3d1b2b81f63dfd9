"""Settings from the environment."""

from __future__ import annotations

import msgspec
import pytest

from tapelab.common.errors import ConfigError
from tapelab.common.settings import CommonSettings, load


class InferenceLike(msgspec.Struct, frozen=True, kw_only=True):
    batch_ms: int = 150


def test_values_are_read_and_typed() -> None:
    settings = load(CommonSettings, {"TAPELAB_PARTITIONS": "8", "TAPELAB_BROKER_KIND": "embedded", "PATH": "/bin"})
    assert settings.partitions == 8
    assert settings.broker_kind == "embedded"


def test_a_misspelt_key_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="unknown setting TAPELAB_BROKR='x'"):
        load(CommonSettings, {"TAPELAB_BROKR": "x"})


def test_keys_of_other_services_are_left_to_them() -> None:
    environ = {"TAPELAB_INFERENCE_BATCH_MS": "100"}
    assert load(CommonSettings, environ) == CommonSettings()
    assert load(InferenceLike, environ, service="inference").batch_ms == 100


def test_a_misspelt_key_of_a_service_is_an_error() -> None:
    with pytest.raises(ConfigError, match="TAPELAB_INFERENCE_BATCHMS"):
        load(InferenceLike, {"TAPELAB_INFERENCE_BATCHMS": "100"}, service="inference")


def test_a_wrong_value_is_an_error_that_shows_it() -> None:
    with pytest.raises(ConfigError, match="TAPELAB_PARTITIONS='many'"):
        load(CommonSettings, {"TAPELAB_PARTITIONS": "many"})
