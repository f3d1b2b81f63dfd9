"""``tapelab check leakage``: which feature, label, fill or split knows what it cannot know yet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tapelab.cli.check.module import check_module, load_module
from tapelab.cli.check.prefix import Leak
from tapelab.cli.check.subjects import check_feature_sets, check_folds, check_normalisers, check_tape
from tapelab.common.clock import SystemClock
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.reading import load_config, parse_config
from tapelab.common.instruments import load_instruments
from tapelab.common.settings import CommonSettings
from tapelab.trainer.etl import compute
from tapelab.trainer.opening import open_source

#: What is tested without an experiment: two short days of one simulated future.
DEFAULT: Final[dict[str, Any]] = {
    "name": "leakage",
    "source": {"kind": "file", "format": "simulator", "path": "seed=3,days=2,hours=1.5,symbols=WINZ26"},
    "validation": {"n_folds": 3, "combinatorial": {"groups": 5, "test_groups": 2}},
    "backtest": {"spread": "effective"},
}
#: Labels that are tested when no experiment names one; the default one comes first.
LABELS: Final[tuple[dict[str, Any], ...]] = (
    {"kind": "sign_return", "horizon_s": 30},
    {"kind": "sign_return", "horizon_s": 5},
    {"kind": "sign_return", "horizon_trades": 50},
    {"kind": "triple_barrier", "horizon_s": 60, "upper": 3, "lower": 3, "events": "cusum", "event_threshold": 1},
    {"kind": "triple_barrier", "horizon_trades": 200, "upper": 10, "lower": 10, "unit": "bps", "timeout": "sign"},
    {"kind": "triple_barrier", "horizon_bars": 20, "upper": 3, "lower": 3},
    {"kind": "regression", "horizon_s": 30, "target": "net"},
    {"kind": "meta", "horizon_s": 30, "primary": {"feature": "flow_ewma_20", "threshold": 0.5}},
    {"kind": "meta", "horizon_s": 60, "bet": "barriers", "primary": {"feature": "flow_ewma_20", "threshold": 0.4}},
)


class Report(NamedTuple):
    """What was tested, in order, and the leaks of each."""

    subjects: dict[str, list[Leak]]

    @property
    def leaks(self) -> list[Leak]:
        """All leaks."""
        return [leak for leaks in self.subjects.values() for leak in leaks]

    def plain(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "clean": not self.leaks,
            "checked": [{"subject": name, "leaks": len(leaks)} for name, leaks in self.subjects.items()],
            "leaks": [leak._asdict() | {"ts_ns": str(leak.ts_ns)} for leak in self.leaks],
        }


def check_leakage(config_path: Path | None, module_path: Path | None, settings: CommonSettings) -> Report:
    """Test every feature set, label, fill, decision and split, and a module where one is named.

    Args:
        config_path: an experiment, whose tape, bars and label are taken; the simulator and one experiment per
            kind of label without it.
        module_path: a module with functions of its own (docs/leakage.md).

    Raises:
        TapelabError: with what was expected, what came and what to do.
    """
    module = load_module(module_path) if module_path is not None else None
    config = parse_config(DEFAULT) if config_path is None else load_config(config_path)
    instruments = load_instruments(settings.config_dir)

    async def quiet(stage: str, fraction: float, data: dict[str, Any]) -> None:
        """Nobody listens."""

    async def load(experiment: ExperimentConfig) -> Any:
        async with open_source(experiment, settings, SystemClock(), instruments) as source:
            spans = list(experiment.spans) or await source.freeze(experiment, quiet)
            return await source.load(experiment, spans, quiet)

    loaded = asyncio.run(load(config))
    symbols = [compute(item, config, instruments) for item in loaded]
    subjects: dict[str, list[Leak]] = {}

    def add(found: dict[str, list[Leak]], of: str = "") -> None:
        for name, leaks in found.items():
            subjects[name + of] = [leak._replace(subject=leak.subject + of) for leak in leaks]

    for data in symbols:
        of = f" on {data.span.symbol}"
        add(check_feature_sets(data.bars, data.costs.tick_size), of)
        if module is not None and module_path is not None:
            add(check_module(module, module_path.name, data.bars, data.labels.ts_end_ns), of)
    raw = msgspec.structs.replace(config, feature_set="core_raw")
    add(check_normalisers([compute(item, raw, instruments) for item in loaded], raw))
    for label in LABELS if config_path is None else (None,):
        tested = config if label is None else parse_config(DEFAULT | {"label": label})
        named = f", label {_named(tested)}"
        for item in loaded:
            add(check_tape(item, tested, instruments), named)
        add(check_folds([compute(item, tested, instruments) for item in loaded], tested), named)
    return Report(subjects)


def _named(config: ExperimentConfig) -> str:
    """A label in few words: its kind and horizon."""
    label = config.label
    return f"{label.kind} {label.reach}"
