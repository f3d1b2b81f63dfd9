"""Settings come from the environment, once, in ``__main__``, as frozen structs.

A field ``broker_kind`` of the common settings is read from ``TAPELAB_BROKER_KIND``; a field ``batch_ms``
of the inference settings from ``TAPELAB_INFERENCE_BATCH_MS``. A key with a known prefix that no field
claims is an error, so a misspelt setting never passes silently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from tapelab.common.errors import ConfigError

BrokerKind = Literal["embedded", "kafka"]
PREFIX: Final = "TAPELAB_"
SERVICES: Final = ("ingest", "sink", "bars", "features", "inference", "trainer", "api")

#: Numbers of settings with the ranges that ``load`` holds them to.
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=60_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0.0, le=31_536_000.0)]
#: A port to listen on; 0 takes a free one.
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]

S = TypeVar("S", bound=msgspec.Struct)


class CommonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service needs.

    ``broker_kind`` says which guarantees the broker gives: ``embedded`` has neither idempotent nor
    transactional producers nor working consumer groups. ``partitions`` is the fixed number of partitions
    of every market topic, ``replication_factor`` the copies a new topic is given (1 on the embedded broker, 3
    on a cluster that must survive the loss of a broker). ``owned_partitions`` (``0,1``) assigns partitions by
    hand; empty means all on the embedded broker and the consumer group's choice on Kafka. ``instance`` names
    this replica and is the static group member id. ``track`` names one of two deployments of a pure stage that
    run side by side on the same topics, as in a roll-over: it has a consumer group and snapshots of its own.
    ``http_port`` 0 takes a free port.
    """

    broker: str = "127.0.0.1:9092"
    broker_kind: BrokerKind = "kafka"
    namespace: str = ""
    partitions: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 4
    replication_factor: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    owned_partitions: str = ""
    instance: str = "0"
    track: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{0,32}$")] = ""
    postgres_dsn: str = "postgresql://tapelab@127.0.0.1:5432/tapelab"
    redis_url: str = "redis://127.0.0.1:6379/0"
    artifacts: str = ".run/artifacts"
    config_dir: str = "config"
    http_host: str = "127.0.0.1"
    http_port: Port = 0
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def deployed(self, stage: str) -> str:
        """The name under which this deployment of a stage reads and keeps its state."""
        return f"{stage}-{self.track}" if self.track else stage


def load(struct: type[S], environ: Mapping[str, str], *, service: str = "") -> S:
    """Read a settings struct.

    Args:
        struct: the frozen struct; its defaults hold for keys that are not set.
        environ: usually ``os.environ``.
        service: one of ``SERVICES`` for a service's own settings, empty for the common ones.

    Raises:
        ConfigError: an unknown key with the struct's prefix, or a value of the wrong type or out of its range.
    """
    prefix = f"{PREFIX}{service.upper()}_" if service else PREFIX
    fields = {f.upper(): f for f in struct.__struct_fields__}
    values: dict[str, str] = {}
    for key, value in sorted(environ.items()):
        if not key.startswith(prefix):
            continue
        name = key.removeprefix(prefix)
        if name in fields:
            values[fields[name]] = value
        elif service or not name.startswith(tuple(f"{s.upper()}_" for s in SERVICES)):
            raise ConfigError(
                f"unknown setting {key}={value!r}",
                expected=f"one of {', '.join(prefix + f for f in sorted(fields))}",
                actual=key,
                remedy="correct or remove it",
            )
    try:
        return msgspec.convert(values, struct, strict=False)
    except msgspec.ValidationError as error:
        # Only the setting that is wrong is shown: others may hold a password.
        expected, _, place = str(error).partition(" - at ")
        wrong = re.sub(r"\W", "", place)
        kind = get_type_hints(struct)[wrong]
        if get_origin(kind) is Literal:
            expected = f"one of {', '.join(get_args(kind))}"
        raise ConfigError(
            f"a setting of {service or 'the common settings'} has a wrong value",
            expected=expected.removeprefix("Expected ").partition(", got")[0],
            actual=f"{prefix}{wrong.upper()}={values[wrong]!r}",
            remedy="correct the value",
        ) from error
