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
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}",
            expected="a readable YAML file",
            actual=str(error.strerror),
            remedy="check the path and TAPELAB_CONFIG_DIR",
        ) from error
    try:
        return msgspec.convert(yaml.safe_load(text), struct, strict=False)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(
            f"{path} does not fit",
            expected=f"the fields of {struct.__name__}",
            actual=str(error),
            remedy="correct the file",
        ) from error
