"""YAML files as frozen structs, with errors that name file and key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from tapelab.common.errors import ConfigError

T = TypeVar("T")
_STEP: Final = re.compile(r"\.([^.\[\]`]+)|\[(\d+)\]")


def load_yaml(path: Path, struct: type[T]) -> T:
    """Read a YAML file into a struct.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not fit the struct.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path.absolute()}",
            expected="a readable YAML file",
            actual=str(error.strerror),
            remedy="name the configuration's folder with TAPELAB_CONFIG_DIR, or --config-dir where a command has it",
        ) from error
    loaded = None
    try:
        loaded = yaml.safe_load(raw.decode("utf-8"))
        return msgspec.convert(loaded, struct, strict=False)
    except (UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(
            f"{path} does not fit",
            expected=f"the fields of {struct.__name__}",
            actual=f"{error}{_value_at(loaded, str(error))}",
            remedy="correct the file",
        ) from error


def _value_at(loaded: Any, error: str) -> str:
    """The value that an error is about, where it is a single one and the error does not tell it."""
    message, _, place = error.partition(" - at `$")
    for name, index in _STEP.findall(place):
        try:
            loaded = loaded[name or int(index)]
        except (KeyError, IndexError, TypeError):
            return ""
    told = place and " got " not in message and not isinstance(loaded, dict | list)
    return f", got {ascii(loaded)[:80]}" if told else ""
