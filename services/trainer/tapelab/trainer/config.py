"""What an experiment is: one struct, read from YAML or from the gateway's JSON. Unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import yaml

from tapelab.common.errors import ConfigError
from tapelab.common.instruments import Costs
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.features import FEATURE_SETS, FeatureSet

SECOND_NS: Final = 1_000_000_000


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prints ``first_seq .. last_seq`` (both included) of one stream of a symbol."""

    symbol: str
    stream: int
    first_seq: int
    last_seq: int

    @property
    def n(self) -> int:
        """Number of prints."""
        return self.last_seq - self.first_seq + 1


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the prints come from.

    ``ticks_raw`` is the table that the tick sink fills, ``topic`` the ticks topic itself (for a table that
    ingest follows, whose rows carry no sequence numbers), ``file`` a tape that ``open_tape`` reads: ``path``,
    ``format`` (recognised if left out) and ``symbol`` where the file does not name it.
    """

    kind: Literal["ticks_raw", "topic", "file"] = "ticks_raw"
    path: str = ""
    format: str | None = None
    symbol: str | None = None


class LabelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is predicted: the sign of the return over ``horizon_s`` from the entry."""

    kind: Literal["sign_return"] = "sign_return"
    horizon_s: float = 30.0


class ModelParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """LightGBM's parameters; ``early_stopping`` counts rounds without progress on the tune split.

    ``linear_c`` is the inverse regularisation of the linear baseline.
    """

    num_leaves: int = 15
    learning_rate: float = 0.05
    n_estimators: int = 200
    early_stopping: int = 25
    min_data: int = 100
    feature_fraction: float = 0.8
    lambda_l2: float = 5.0
    linear_c: float = 1.0
    seed: int = 7


class ValidationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Purged walk-forward (``quant.validation.walk_forward``)."""

    n_folds: int = 4
    mode: Literal["anchored", "rolling"] = "anchored"
    embargo_s: float = 5.0
    min_train: float = 0.4
    tune_fraction: float = 0.25


class DecisionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The decision rule's settings; the threshold is chosen on the tune split.

    ``max_hold_s`` defaults to the label's horizon. ``valid_s`` is how long a signal may open a position.
    ``shadow_rate`` is the share of vectors that should show an edge where a refused model runs as a shadow:
    its threshold is lowered that far, below the costs if need be, so that there is something to observe.
    """

    cooldown_s: float = 1.0
    max_hold_s: float | None = None
    flatten_s: float = 60.0
    valid_s: float = 2.0
    shadow_rate: float = 0.02


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the promotion gate; an experiment may tighten them. One that loosens them is not promoted.

    ``p_value`` bounds the chance that a profit over flat, and over the linear baseline, is noise: a
    stationary bootstrap with ``n_boot`` resamples over blocks of ``block_s`` seconds, joined in runs of
    ``mean_block`` on average. ``max_latency_us`` bounds the p99 of one model call of 64 rows,
    ``max_abs_diff`` the distance of the exported scores from the trained ones. ``require_live`` demands
    that live feature vectors were there to compare.
    """

    p_value: float = 0.05
    min_periods: int = 3
    min_trades: int = 30
    max_latency_us: float = 20_000.0
    max_abs_diff: float = 1e-6
    block_s: float = 300.0
    mean_block: float = 6.0
    n_boot: int = 2_000
    require_live: bool = True


class ExperimentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One experiment.

    Args:
        name: for people and as the beginning of the model's id.
        symbols: what to train on; empty takes all symbols of the source.
        roots: instead of symbols, instrument roots (``WIN``) whose symbols are taken.
        spans: explicit prints; empty takes all of each symbol's latest stream as it stands at the start,
            frozen into spans before anything else happens.
        cut_ts_ns: leave out prints from the first one at or after this event time on.
        latency_ms: from a bar's close to the fill, assumed by labels and backtest.
        costs: instead of those in ``instruments.yaml``, for every symbol.
        wait_s: how long to wait for the tick sink.
    """

    name: str = "experiment"
    symbols: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    source: SourceConfig = SourceConfig()
    spans: tuple[Span, ...] = ()
    cut_ts_ns: int | None = None
    bars: str = "tick:50"
    feature_set: str = "core"
    label: LabelConfig = LabelConfig()
    model: ModelParams = ModelParams()
    validation: ValidationConfig = ValidationConfig()
    costs: Costs | None = None
    latency_ms: float = 200.0
    decision: DecisionConfig = DecisionConfig()
    gate: GateConfig = GateConfig()
    wait_s: float = 60.0

    @property
    def bar_spec(self) -> BarSpec:
        """The bars."""
        return BarSpec.parse(self.bars)

    @property
    def features(self) -> FeatureSet:
        """The feature set."""
        return FEATURE_SETS[self.feature_set]

    @property
    def horizon_ns(self) -> int:
        """The label's horizon."""
        return round(self.label.horizon_s * SECOND_NS)

    @property
    def latency_ns(self) -> int:
        """From a bar's close to the fill."""
        return round(self.latency_ms * 1e6)

    @property
    def embargo_ns(self) -> int:
        """Gap between a label's end and the part that follows."""
        return round(self.validation.embargo_s * SECOND_NS)

    def decision_params(self, threshold: float) -> DecisionParams:
        """The decision rule with a threshold."""
        hold_s = self.label.horizon_s if self.decision.max_hold_s is None else self.decision.max_hold_s
        return DecisionParams(
            threshold=threshold,
            cooldown_ns=round(self.decision.cooldown_s * SECOND_NS),
            max_hold_ns=round(hold_s * SECOND_NS),
            flatten_ns=round(self.decision.flatten_s * SECOND_NS),
        )


def parse_config(raw: Mapping[str, Any], where: str = "the experiment") -> ExperimentConfig:
    """An experiment from YAML or JSON types; numbers may be strings, as 64-bit ones are in JSON.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value out of range.
    """
    try:
        config = msgspec.convert(raw, ExperimentConfig, strict=False)
        spec = BarSpec.parse(config.bars)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(
            f"{where} does not fit",
            expected="the fields of an experiment (services/trainer/README.md)",
            actual=str(error),
            remedy="correct the field",
        ) from error
    for good, expected, actual in _checks(config):
        if not good:
            raise ConfigError(f"{where} does not fit", expected=expected, actual=actual, remedy="correct the value")
    return msgspec.structs.replace(config, bars=str(spec))


def load_config(path: Path) -> ExperimentConfig:
    """Read an experiment from a YAML file.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not fit.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot read {path}", expected="a YAML file", actual=str(error), remedy="check the path and the file"
        ) from error
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{path} does not fit", expected="keys and values", actual=type(raw).__name__, remedy="correct the file"
        )
    return parse_config(raw, str(path))


def _checks(config: ExperimentConfig) -> list[tuple[bool, str, str]]:
    model, validation, decision, gate = config.model, config.validation, config.decision, config.gate
    name_fits = bool(config.name) and all(c.isalnum() or c in "-_." for c in config.name)
    return [
        (name_fits, "name of letters, digits, '-', '_' and '.'", repr(config.name)),
        (
            config.feature_set in FEATURE_SETS,
            f"feature_set: one of {', '.join(FEATURE_SETS)}",
            config.feature_set,
        ),
        (
            not (config.symbols and config.roots),
            "symbols or roots, not both",
            f"{config.symbols} and {config.roots}",
        ),
        (config.source.kind != "file" or bool(config.source.path or config.source.format), "source.path", "none"),
        (config.source.kind != "file" or not config.spans, "spans only of streams, not of a file", "both"),
        (all(span.n > 0 for span in config.spans), "spans with first_seq <= last_seq", str(config.spans)),
        (
            len({span.symbol for span in config.spans}) == len(config.spans),
            "one span per symbol",
            str(config.spans),
        ),
        (config.label.horizon_s > 0, "label.horizon_s > 0", str(config.label.horizon_s)),
        (config.latency_ms >= 0, "latency_ms >= 0", str(config.latency_ms)),
        (2 <= model.num_leaves <= 1024, "model.num_leaves in 2..1024", str(model.num_leaves)),
        (0 < model.learning_rate <= 1, "model.learning_rate in (0, 1]", str(model.learning_rate)),
        (1 <= model.n_estimators <= 10_000, "model.n_estimators in 1..10000", str(model.n_estimators)),
        (model.early_stopping >= 1, "model.early_stopping >= 1", str(model.early_stopping)),
        (model.min_data >= 1, "model.min_data >= 1", str(model.min_data)),
        (0 < model.feature_fraction <= 1, "model.feature_fraction in (0, 1]", str(model.feature_fraction)),
        (model.lambda_l2 >= 0 and model.linear_c > 0, "model.lambda_l2 >= 0, model.linear_c > 0", str(model)),
        (1 <= validation.n_folds <= 50, "validation.n_folds in 1..50", str(validation.n_folds)),
        (validation.embargo_s >= 0, "validation.embargo_s >= 0", str(validation.embargo_s)),
        (
            0 < validation.min_train < 1 and 0 < validation.tune_fraction < 1,
            "validation.min_train and tune_fraction in (0, 1)",
            str(validation),
        ),
        (
            decision.cooldown_s >= 0 and decision.flatten_s >= 0 and decision.valid_s > 0,
            "decision.cooldown_s >= 0, flatten_s >= 0, valid_s > 0",
            str(decision),
        ),
        (0 < decision.shadow_rate < 1, "decision.shadow_rate in (0, 1)", str(decision.shadow_rate)),
        (0 < gate.p_value < 1, "gate.p_value in (0, 1)", str(gate.p_value)),
        (
            gate.block_s > 0 and gate.mean_block >= 1 and gate.n_boot >= 100,
            "gate.block_s > 0, mean_block >= 1, n_boot >= 100",
            str(gate),
        ),
    ]
