"""The manifest of a trained model: everything its decisions depend on, and how it was proven."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from tapelab.common.experiments.config import SECOND_NS, ExperimentConfig
from tapelab.common.experiments.parts import Span
from tapelab.common.serving.manifest import Decision, LabelSpec, Manifest
from tapelab.trainer.etl import SymbolData
from tapelab.trainer.evaluation import Evaluation, plain
from tapelab.trainer.export import Exported
from tapelab.trainer.strategy import Strategy, relaxed_threshold
from tapelab.trainer.train import FinalModel

#: Expected return per unit of score where even the training rows show no slope: any positive number serves,
#: because a shadow's threshold is a quantile of what it gives.
_SMALLEST_SLOPE: Final = 1e-6


class Proven(NamedTuple):
    """What an experiment has made; ``passed`` is the gate's word."""

    spans: Sequence[Span]
    data_digest: str
    evaluation: Evaluation
    final: FinalModel
    exported: Exported
    passed: bool


def build_manifest(
    proven: Proven, config: ExperimentConfig, code_version: str, experiment_id: str | None, created_ns: int
) -> Manifest:
    """The manifest of the final model; of a refused one with its shadow's threshold."""
    final, exported = proven.final, proven.exported
    strategy, rule = final.strategy, "best net return on the tune split"
    if not proven.passed:
        strategy, rule = _as_shadow(proven, config)
    params = config.decision_params(strategy.threshold)
    # The same training twice gives the same trees; the time tells the two exports apart.
    unique = hashlib.blake2b(final.model.text.encode() + b"%d" % created_ns, digest_size=4).hexdigest()
    return Manifest(
        model_id=f"{config.name}-{unique}",
        feature_set=config.feature_set,
        feature_set_id=config.features.id,
        feature_names=config.features.names,
        bar_spec=config.bars,
        label=LabelSpec(
            kind=config.label.kind, horizon_ns=config.horizon_ns, primary=config.label.primary or msgspec.UNSET
        ),
        normaliser=final.normaliser or "feature_set",
        calibration=strategy.calibration,
        decision=Decision(
            threshold=params.threshold,
            cooldown_ns=params.cooldown_ns,
            max_hold_ns=params.max_hold_ns,
            flatten_ns=params.flatten_ns,
            valid_ns=round(config.decision.valid_s * SECOND_NS),
            latency_ns=config.latency_ns,
        ),
        training=plain(
            {
                "symbols": [span.symbol for span in proven.spans],
                "spans": [msgspec.to_builtins(span) for span in proven.spans],
                "event_times": event_times(final.symbols),
                "data_digest": proven.data_digest,
                "params": msgspec.to_builtins(config.model),
                "seed": config.model.seed,
                "rounds": final.model.rounds,
                "samples": final.samples.n,
                "experiment_id": experiment_id,
                "config": msgspec.to_builtins(config),
            }
        ),
        metrics=plain(proven.evaluation.metrics | {"threshold_rule": rule, "gate_passed": proven.passed}),
        backend=exported.backend,
        candidates=exported.candidates,
        files={name: hashlib.sha256(raw).hexdigest() for name, raw in sorted(exported.files.items())},
        code_version=code_version,
        created_ns=created_ns,
    )


def event_times(symbols: Sequence[SymbolData]) -> dict[str, list[int]]:
    """When each symbol's first bar opened and its last one closed, in ns: what a model was made from."""
    return {
        data.span.symbol: [int(data.bars["ts_open_ns"].min()), int(data.bars["ts_close_ns"].max())] for data in symbols
    }


def _as_shadow(proven: Proven, config: ExperimentConfig) -> tuple[Strategy, str]:
    """How a refused model runs as a shadow: without an edge in sight there would be nothing to observe."""
    final = proven.final
    strategy = final.strategy
    slope = strategy.calibration.slope or final.train_slope or _SMALLEST_SLOPE
    strategy = strategy._replace(calibration=msgspec.structs.replace(strategy.calibration, slope=slope))
    rate = config.decision.shadow_rate
    threshold = relaxed_threshold(
        final.symbols,
        strategy,
        rate,
        final.split.tune_start_ns,
        int(final.samples.ts_start_ns.max()) + 1,
    )
    if threshold >= strategy.threshold:
        return strategy, "best net return on the tune split"
    return (
        strategy._replace(threshold=threshold),
        f"lowered for observation as a shadow: {rate:.1%} of the vectors show an edge",
    )
