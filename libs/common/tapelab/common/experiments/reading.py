"""Reading an experiment from YAML or from the gateway's JSON. Unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tapelab.common.errors import ConfigError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.misfit import explain, shown
from tapelab.common.experiments.parts import WORDS
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.features import FEATURE_SETS, NormaliserKind


class ConfigMisfit(ConfigError):
    """An experiment that does not fit; ``field`` is the path of what is wrong, empty for the whole of it."""

    def __init__(self, where: str, field: str, *, expected: str, actual: str) -> None:
        super().__init__(
            f"{where} does not fit",
            expected=expected,
            actual=actual,
            remedy="correct it (services/trainer/README.md describes the fields)",
        )
        self.field = field


def parse_config(raw: Mapping[str, Any], where: str = "the experiment") -> ExperimentConfig:
    """An experiment from YAML or JSON types; numbers may be strings, as 64-bit ones are in JSON.

    Raises:
        ConfigMisfit: an unknown key, a wrong type, a value out of range, or fields that contradict each other.
    """
    try:
        config = msgspec.convert(raw, ExperimentConfig, strict=False)
    except msgspec.ValidationError as error:
        field, expected, actual = explain(error, raw, ExperimentConfig, WORDS)
        raise ConfigMisfit(where, field, expected=expected, actual=actual) from error
    try:
        spec = BarSpec.parse(config.bars)
    except (ValueError, OverflowError) as error:
        expected, _, _ = str(error).removeprefix("bar specification: expected ").rpartition(", got ")
        expected = f"bars: {expected or 'a smaller threshold'}"
        raise ConfigMisfit(where, "bars", expected=expected, actual=shown(config.bars)) from error
    for good, field, expected, actual in _checks(config):
        if not good:
            raise ConfigMisfit(where, field, expected=expected, actual=actual)
    return msgspec.structs.replace(config, bars=str(spec))


def load_config(path: Path) -> ExperimentConfig:
    """Read an experiment from a YAML file.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not fit.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot read {path}", expected="a YAML file", actual=_why(error), remedy="check the path and the file"
        ) from error
    if not isinstance(raw, dict):
        kind = "nothing" if raw is None else type(raw).__name__
        raise ConfigError(f"{path} does not fit", expected="keys and values", actual=kind, remedy="correct the file")
    return parse_config(raw, str(path))


def _why(error: Exception) -> str:
    """Why a file cannot be read as YAML, in one line and without the file's text."""
    if isinstance(error, OSError):
        return str(error.strerror)
    if isinstance(error, UnicodeDecodeError):
        return f"a file that is no UTF-8 text (byte {error.start + 1})"
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"a text that is no YAML from line {mark.line + 1}, column {mark.column + 1} on"
    return "a file that is no YAML text"


def _checks(config: ExperimentConfig) -> list[tuple[bool, str, str, str]]:
    """What the fields must be together: whether they are, which field, what was expected, what came."""
    source, spans, paths = config.source, config.spans, config.validation.combinatorial
    known = config.feature_set in FEATURE_SETS
    names = FEATURE_SETS[config.feature_set].names if known else ()
    primary = config.label.primary
    raw = [name for name, each in FEATURE_SETS.items() if each.normaliser.kind is NormaliserKind.RAW]
    return [
        (
            paths is None or paths.test_groups < paths.groups - 1,
            "validation.combinatorial",
            "validation.combinatorial: a group to train on and one to tune on beside the test groups",
            f"{paths.test_groups if paths else 0} of {paths.groups if paths else 0} tested",
        ),
        (known, "feature_set", f"feature_set: one of {', '.join(FEATURE_SETS)}", shown(config.feature_set)),
        (
            config.normaliser is None or config.feature_set in raw,
            "normaliser",
            f"feature_set: one of {', '.join(raw)} for a normaliser that is fitted",
            f"{shown(config.feature_set)}, which is normalised already",
        ),
        (
            config.label.kind != "meta" or primary is not None,
            "label.primary",
            "label.primary: the rule whose side a meta-label judges",
            "none",
        ),
        (
            primary is None or primary.feature in names,
            "label.primary.feature",
            f"label.primary.feature: a feature of {config.feature_set}",
            shown(primary.feature if primary else ""),
        ),
        (not (config.symbols and config.roots), "symbols", "symbols or roots, not both", "both"),
        (
            not config.label.strangers,
            f"label.{config.label.strangers[0] if config.label.strangers else ''}",
            f"label: fields that kind {config.label.kind} with events {config.label.events} reads",
            ", ".join(config.label.strangers),
        ),
        (
            not config.backtest.strangers,
            f"backtest.{config.backtest.strangers[0] if config.backtest.strangers else ''}",
            f"backtest: fields that {config.backtest.orders} orders read",
            ", ".join(config.backtest.strangers),
        ),
        (
            source.kind != "file" or bool(source.path or source.format == "simulator"),
            "source.path",
            "source.path of the file",
            "none",
        ),
        (source.kind != "file" or not spans, "spans", "spans only of streams, not of a file", "both"),
        *(
            (
                span.n > 0,
                f"spans[{i}]",
                f"spans[{i}]: first_seq <= last_seq",
                f"{span.first_seq} and {span.last_seq}",
            )
            for i, span in enumerate(spans)
        ),
        (
            len({span.symbol for span in spans}) == len(spans),
            "spans",
            "one span per symbol",
            shown([span.symbol for span in spans]),
        ),
    ]
