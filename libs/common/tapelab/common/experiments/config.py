"""What an experiment is: one struct, read from YAML or from the gateway's JSON. Unknown keys are refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml
from msgspec import Meta

from tapelab.common.errors import ConfigError
from tapelab.common.experiments.misfit import explain, shown
from tapelab.common.instruments import Costs
from tapelab.common.serving.primary import PrimaryRule
from tapelab.common.storage.jobs import NAME_PATTERN
from tapelab.quant.backtest.costs import Frictions
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.features import FEATURE_SETS, FeatureSet, NormaliserKind

SECOND_NS: Final = 1_000_000_000
_SYMBOL: Final = r"^[!-~]{1,64}\Z"
_PATH: Final = r"^[^\x00-\x1f\x7f]{0,4096}\Z"
_QUEUE: Final = r"^(inf|[0-9]{1,9}(\.[0-9]{1,6})?x?)\Z"
_WORDS: Final = {
    _QUEUE: "a number of lots, a multiple of the mean print such as 10x, or inf",
    NAME_PATTERN: "1 to 100 letters, digits, '-', '_' and '.', beginning with a letter or a digit",
    _SYMBOL: "1 to 64 printable characters without spaces",
    _PATH: "at most 4096 printable characters",
}

# Every number has a range, so that none overflows a time in nanoseconds, and NaN and infinity are outside it.
Symbol = Annotated[str, Meta(pattern=_SYMBOL)]
Text = Annotated[str, Meta(max_length=64)]
#: A sequence or stream number, or a time, that fits PostgreSQL's bigint with room to add to it.
Count = Annotated[int, Meta(ge=0, le=1 << 62)]
#: Seconds up to a day; nothing here reaches beyond a session.
Seconds = Annotated[float, Meta(ge=0.0, le=86_400.0)]
PositiveSeconds = Annotated[float, Meta(ge=0.001, le=86_400.0)]
#: A share that is neither nothing nor all.
Share = Annotated[float, Meta(gt=0.0, lt=1.0)]


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


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prints ``first_seq .. last_seq`` (both included) of one stream of a symbol."""

    symbol: Symbol
    stream: Count
    first_seq: Count
    last_seq: Count

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
    path: Annotated[str, Meta(pattern=_PATH)] = ""
    format: Text | None = None
    symbol: Symbol | None = None


class LabelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is predicted, from the entry on.

    ``sign_return``: the sign of the return over ``horizon_s``, or over ``horizon_trades`` eligible trades.
    ``triple_barrier``: which of two barriers is reached within that horizon, ``upper`` and ``lower`` away in
    ``unit`` (multiples of a bar's ``volatility``, whose half-life is ``half_life`` bars, or ``bps``); where
    neither is, ``timeout`` says whether the label is 0 (such rows calibrate but do not train) or the sign of
    the return. ``regression``: the return itself, as ``target``: a log return, ticks, or what the costs leave.
    ``meta``: whether the side that the rule ``primary`` takes earns over the horizon; a model learns which of its
    bets to take, and never bets otherwise.

    ``events: cusum`` keeps the bars at which the move since the last event passed ``event_threshold`` times
    the volatility. ``weights`` weigh training rows by their uniqueness or the return that is their own;
    ``time_decay`` is the factor of the oldest row, 1 for none.

    With ``horizon_trades``, ``horizon_s`` still is how long a position is held at most.
    """

    kind: Literal["sign_return", "regression", "triple_barrier", "meta"] = "sign_return"
    horizon_s: PositiveSeconds = 30.0
    horizon_trades: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    upper: Annotated[float, Meta(ge=0.01, le=1_000.0)] = 5.0
    lower: Annotated[float, Meta(ge=0.01, le=1_000.0)] = 5.0
    unit: Literal["volatility", "bps"] = "volatility"
    half_life: Annotated[float, Meta(ge=1.0, le=100_000.0)] = 50.0
    timeout: Literal["zero", "sign"] = "zero"
    target: Literal["log_return", "ticks", "net"] = "log_return"
    primary: PrimaryRule | None = None
    events: Literal["all", "cusum"] = "all"
    event_threshold: Annotated[float, Meta(ge=0.01, le=1_000.0)] = 3.0
    weights: Literal["none", "uniqueness", "return_attribution"] = "none"
    time_decay: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0

    @property
    def reach(self) -> str:
        """How far a label looks, for people."""
        far = f"{self.horizon_s:g} s" if self.horizon_trades is None else f"{self.horizon_trades} trades"
        return f"up to {far}" if self.kind == "triple_barrier" else far

    @property
    def strangers(self) -> list[str]:
        """Fields that were set but say nothing to the other settings."""
        idle = []
        if self.kind != "triple_barrier":
            idle += ["upper", "lower", "unit", "timeout"]
        if self.kind != "regression":
            idle.append("target")
        if self.kind != "meta":
            idle.append("primary")
        if self.events != "cusum":
            idle.append("event_threshold")
            if self.kind != "triple_barrier" or self.unit != "volatility":
                idle.append("half_life")
        default = LabelConfig()
        return [name for name in idle if getattr(self, name) != getattr(default, name)]


class NormaliserConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A normaliser that is fitted on the training rows and frozen in the manifest, over a raw feature set.

    ``zscore`` takes mean and deviation, ``robust`` median and interquartile range. A symbol with at least
    ``min_rows`` training rows has figures of its own; the others share those of all rows. Values are kept within
    ``clip``.
    """

    kind: Literal["zscore", "robust"] = "zscore"
    clip: Annotated[float, Meta(gt=0.0, le=1_000.0)] = 5.0
    min_rows: Annotated[int, Meta(ge=2, le=1_000_000)] = 200


class ModelParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """LightGBM's parameters; ``early_stopping`` counts rounds without progress on the tune split.

    ``linear_c`` is the inverse regularisation of the linear baseline.
    """

    num_leaves: Annotated[int, Meta(ge=2, le=1_024)] = 15
    learning_rate: Annotated[float, Meta(ge=1e-6, le=1.0)] = 0.05
    n_estimators: Annotated[int, Meta(ge=1, le=10_000)] = 200
    early_stopping: Annotated[int, Meta(ge=1, le=10_000)] = 25
    min_data: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    feature_fraction: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.8
    lambda_l2: Annotated[float, Meta(ge=0.0, le=1e9)] = 5.0
    linear_c: Annotated[float, Meta(ge=1e-9, le=1e9)] = 1.0
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 7


class CombinatorialConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Combinatorial purged cross-validation: ``test_groups`` of ``groups`` at a time; every choice is a fit."""

    groups: Annotated[int, Meta(ge=3, le=12)] = 6
    test_groups: Annotated[int, Meta(ge=1, le=10)] = 2


class ValidationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Purged walk-forward (``quant.validation.walk_forward``).

    ``by: session`` cuts between trading days only, and counts days instead of samples. ``combinatorial`` adds
    many out-of-sample paths to the report; they inform and do not judge.
    """

    by: Literal["time", "session"] = "time"
    n_folds: Annotated[int, Meta(ge=1, le=50)] = 4
    mode: Literal["anchored", "rolling"] = "anchored"
    embargo_s: Seconds = 5.0
    min_train: Share = 0.4
    tune_fraction: Share = 0.25
    combinatorial: CombinatorialConfig | None = None


class DecisionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The decision rule's settings; the threshold is chosen on the tune split.

    ``max_hold_s`` defaults to the label's horizon. ``valid_s`` is how long a signal may open a position.
    ``shadow_rate`` is the share of vectors that should show an edge where a refused model runs as a shadow:
    its threshold is lowered that far, below the costs if need be, so that there is something to observe.
    """

    cooldown_s: Seconds = 1.0
    max_hold_s: PositiveSeconds | None = None
    flatten_s: Seconds = 60.0
    valid_s: PositiveSeconds = 2.0
    shadow_rate: Share = 0.02


class BacktestConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How changes of position are traded when a model is judged (docs/backtest.md).

    ``fills: bars`` looks market orders up in the prints, ``ticks`` walks print by print; passive ``limit`` orders
    walk. ``queue`` is how many lots stand before an order that joins the best price: a number, with an ``x`` that
    many mean prints of the bar that decided, or ``inf`` where only prints through the price fill. After
    ``patience_s`` an order does what ``then`` says: it joins the best price anew, or goes to the market.

    ``lots`` are those of a full position; ``max_long`` and ``max_short`` make a position smaller, 0 forbids it, and
    change no decision. ``spread`` is what market orders cross: the costs' ``spread_ticks``, or an estimate from
    prints and bars where that is larger (``quant.backtest.spreads``); decisions expect ``spread_ticks`` either way.
    """

    orders: Literal["market", "limit"] = "market"
    fills: Literal["bars", "ticks"] | None = None
    queue: Annotated[str, Meta(pattern=_QUEUE)] | Annotated[int, Meta(ge=0, le=1_000_000_000)] = "10x"
    patience_s: PositiveSeconds | None = None
    then: Literal["join", "market"] = "join"
    lots: Annotated[float, Meta(gt=0.0, le=1e9)] = 1.0
    max_long: Annotated[float, Meta(ge=0.0, le=1e9)] | None = None
    max_short: Annotated[float, Meta(ge=0.0, le=1e9)] | None = None
    spread: Literal["fixed", "roll", "corwin_schultz", "effective"] = "fixed"

    def limited(self, frictions: Frictions) -> Frictions:
        """Frictions with the limits of positions."""
        long, short = (math.inf if limit is None else limit for limit in (self.max_long, self.max_short))
        return frictions._replace(max_long=long, max_short=short)

    @property
    def by_ticks(self) -> bool:
        """Whether fills come print by print."""
        return self.fills == "ticks" or self.orders == "limit"

    @property
    def strangers(self) -> list[str]:
        """Fields that were set but say nothing to the other settings."""
        if self.orders == "limit":
            idle = {"fills": self.fills == "bars", "then": self.then == "market" and self.patience_s is None}
            return [name for name, is_idle in idle.items() if is_idle]
        default = BacktestConfig()
        return [name for name in ("queue", "patience_s", "then") if getattr(self, name) != getattr(default, name)]


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the promotion gate; an experiment may tighten them. One that loosens them is not promoted.

    ``p_value`` bounds the chance that a profit over flat, and over the linear baseline, is noise: a
    stationary bootstrap with ``n_boot`` resamples over blocks of ``block_s`` seconds, joined in runs of
    ``mean_block`` on average. ``min_deflated_sharpe`` is the least probability that the Sharpe ratio of those
    blocks is above zero, given how many configurations were tried on the same data. ``max_latency_us`` bounds
    the p99 of one model call of 64 rows, ``max_abs_diff`` the distance of the exported scores from the trained
    ones. ``require_live`` demands that live feature vectors were there to compare.
    """

    p_value: Share = 0.05
    min_periods: Annotated[int, Meta(ge=1, le=50)] = 3
    min_trades: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 30
    min_deflated_sharpe: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.95
    max_latency_us: Annotated[float, Meta(gt=0.0, le=1e9)] = 20_000.0
    max_abs_diff: Annotated[float, Meta(ge=0.0, le=1.0)] = 1e-6
    block_s: PositiveSeconds = 300.0
    mean_block: Annotated[float, Meta(ge=1.0, le=1e6)] = 6.0
    n_boot: Annotated[int, Meta(ge=100, le=100_000)] = 2_000
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
        normaliser: fitted on training rows, for a feature set whose values come as they are (``core_raw``).
        costs: instead of those in ``instruments.yaml``, for every symbol.
        wait_s: how long to wait for the tick sink, at most 600 s.
    """

    name: Annotated[str, Meta(pattern=NAME_PATTERN)] = "experiment"
    symbols: tuple[Symbol, ...] = ()
    roots: tuple[Symbol, ...] = ()
    source: SourceConfig = SourceConfig()
    spans: tuple[Span, ...] = ()
    cut_ts_ns: Count | None = None
    bars: Text = "tick:50"
    feature_set: Text = "core"
    normaliser: NormaliserConfig | None = None
    label: LabelConfig = LabelConfig()
    model: ModelParams = ModelParams()
    validation: ValidationConfig = ValidationConfig()
    costs: Costs | None = None
    latency_ms: Annotated[float, Meta(ge=0.0, le=60_000.0)] = 200.0
    decision: DecisionConfig = DecisionConfig()
    backtest: BacktestConfig = BacktestConfig()
    gate: GateConfig = GateConfig()
    wait_s: Annotated[float, Meta(ge=0.0, le=600.0)] = 60.0

    @property
    def bar_spec(self) -> BarSpec:
        """The bars."""
        return BarSpec.parse(self.bars)

    @property
    def features(self) -> FeatureSet:
        """The feature set."""
        return FEATURE_SETS[self.feature_set]

    @property
    def regression(self) -> bool:
        """Whether models predict a number; else they give the probability of up."""
        return self.label.kind == "regression"

    @property
    def horizon_ns(self) -> int:
        """The label's horizon in time; with a horizon in trades, how long a position is held at most."""
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
        ConfigMisfit: an unknown key, a wrong type, a value out of range, or fields that contradict each other.
    """
    try:
        config = msgspec.convert(raw, ExperimentConfig, strict=False)
    except msgspec.ValidationError as error:
        field, expected, actual = explain(error, raw, ExperimentConfig, _WORDS)
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
