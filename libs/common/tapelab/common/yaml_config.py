"""YAML files as frozen structs, with errors that name file and key."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
import yaml

from tapelab.common.errors import ConfigError

T = TypeVar("T")


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
    try:
        return msgspec.convert(yaml.safe_load(raw.decode("utf-8")), struct, strict=False)
    except (UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(
            f"{path} does not fit",
            expected=f"the fields of {struct.__name__}",
            actual=str(error),
            remedy="correct the file",
        ) from error
