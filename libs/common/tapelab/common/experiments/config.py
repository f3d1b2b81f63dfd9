"""What an experiment is: one struct, whose parts are in ``parts.py``; ``reading.py`` reads it."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tapelab.common.experiments.parts import (
    BacktestConfig,
    Count,
    DecisionConfig,
    GateConfig,
    LabelConfig,
    ModelParams,
    NormaliserConfig,
    SourceConfig,
    Span,
    Symbol,
    Text,
    ValidationConfig,
)
from tapelab.common.instruments import Costs
from tapelab.common.storage.jobs import NAME_PATTERN
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.features import FEATURE_SETS, FeatureSet

SECOND_NS: Final = 1_000_000_000


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
