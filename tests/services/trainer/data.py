"""Small simulated tapes, computed once per process."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import Span
from tapelab.common.experiments.reading import parse_config
from tapelab.common.instruments import Instruments, load_instruments
from tapelab.common.pipeline import Pipeline, load_pipeline
from tapelab.quant.ticks import Ticks
from tapelab.trainer.dataset import Samples, pool
from tapelab.trainer.etl import SymbolData, compute
from tapelab.trainer.sources import SymbolTicks, _read

CONFIG_DIR = Path(__file__).resolve().parents[3] / "config"
TAPE = "seed=3,days=2,hours=1.5"

#: Fields that make an experiment over the small tape quick.
SMALL: dict[str, Any] = {
    "name": "small",
    "source": {"kind": "file", "format": "simulator", "path": TAPE},
    "model": {"n_estimators": 60, "num_leaves": 8, "min_data": 40},
    "validation": {"n_folds": 3},
    "gate": {"n_boot": 2_000},
}


def config(**changes: Any) -> ExperimentConfig:
    """The small experiment, with some fields changed."""
    return parse_config(SMALL | changes)


@functools.cache
def instruments() -> Instruments:
    return load_instruments(CONFIG_DIR)


@functools.cache
def pipeline() -> Pipeline:
    return load_pipeline(CONFIG_DIR)


@functools.cache
def tape(path: str = TAPE) -> dict[str, Ticks]:
    """Prints by symbol."""
    return _read(config(source=SMALL["source"] | {"path": path}))


@functools.cache
def loaded(path: str = TAPE) -> tuple[SymbolTicks, ...]:
    return tuple(
        SymbolTicks(Span(symbol=symbol, stream=0, first_seq=0, last_seq=ticks.n - 1), ticks, True)
        for symbol, ticks in sorted(tape(path).items())
    )


@functools.cache
def symbols(path: str = TAPE) -> tuple[SymbolData, ...]:
    return tuple(compute(item, config(), instruments()) for item in loaded(path))


@functools.cache
def samples(path: str = TAPE) -> Samples:
    return pool(symbols(path))
