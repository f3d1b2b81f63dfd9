"""Settings from the environment."""

from __future__ import annotations

import msgspec
import pytest

from tapelab.api.settings import ApiSettings
from tapelab.common.errors import ConfigError
from tapelab.common.settings import CommonSettings, load
from tapelab.ingest.settings import IngestSettings, SinkSettings
from tapelab.trainer.settings import TrainerSettings


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


@pytest.mark.parametrize(
    ("struct", "service", "key", "value"),
    [
        (CommonSettings, "", "TAPELAB_PARTITIONS", "0"),
        (CommonSettings, "", "TAPELAB_PARTITIONS", "-4"),
        (CommonSettings, "", "TAPELAB_HTTP_PORT", "65536"),
        (ApiSettings, "api", "TAPELAB_API_PORT", "-1"),
        (IngestSettings, "ingest", "TAPELAB_INGEST_POLL_MS", "0"),
        (IngestSettings, "ingest", "TAPELAB_INGEST_PACE_MS", "0"),
        (IngestSettings, "ingest", "TAPELAB_INGEST_MAX_GAP_S", "0"),
        (IngestSettings, "ingest", "TAPELAB_INGEST_MAX_GAP_S", "nan"),
        (IngestSettings, "ingest", "TAPELAB_INGEST_GRACE_S", "-1"),
        (SinkSettings, "sink", "TAPELAB_SINK_BATCH_ROWS", "0"),
        (SinkSettings, "sink", "TAPELAB_SINK_POLL_MS", "0"),
        (TrainerSettings, "trainer", "TAPELAB_TRAINER_NUM_THREADS", "0"),
        (TrainerSettings, "trainer", "TAPELAB_TRAINER_POLL_S", "-0.5"),
        (TrainerSettings, "trainer", "TAPELAB_TRAINER_HEARTBEAT_S", "30"),
    ],
)
def test_a_number_out_of_its_range_is_an_error_that_names_it(
    struct: type[msgspec.Struct], service: str, key: str, value: str
) -> None:
    with pytest.raises(ConfigError, match=f"{key}='{value}'"):
        load(struct, {key: value}, service=service)


def test_an_error_shows_what_may_stand_there_and_no_other_setting() -> None:
    environ = {"TAPELAB_BROKER_KIND": "rabbit", "TAPELAB_POSTGRES_DSN": "postgresql://u:secret@h/db"}
    with pytest.raises(ConfigError, match="expected one of embedded, kafka, got TAPELAB_BROKER_KIND='rabbit'") as found:
        load(CommonSettings, environ)
    assert "secret" not in str(found.value)


def test_a_wrong_value_is_an_error_that_shows_it() -> None:
    with pytest.raises(ConfigError, match="TAPELAB_PARTITIONS='many'"):
        load(CommonSettings, {"TAPELAB_PARTITIONS": "many"})


def test_a_track_names_a_deployment_of_its_own() -> None:
    assert load(CommonSettings, {}).deployed("bars") == "bars"
    assert load(CommonSettings, {"TAPELAB_TRACK": "blue"}).deployed("bars") == "bars-blue"
    with pytest.raises(ConfigError, match=r"TAPELAB_TRACK='Blue/1'"):
        load(CommonSettings, {"TAPELAB_TRACK": "Blue/1"})
