"""Samples of all symbols in one matrix, and LightGBM's binary form of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import numpy.typing as npt

from tapelab.common.errors import SourceError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.quant.labels.meta import directed
from tapelab.trainer.etl import SymbolData


class Samples(NamedTuple):
    """Rows that are usable, events, and have a valid label, symbol after symbol, in time order within each.

    Args:
        x: float32 ``(n, n_features)``.
        up: int8 ``(n,)``, 1 where the return (of a meta-label: that of the bet) is positive.
        moved: bool ``(n,)``, false where the price did not change: a classifier calibrates on such rows but does
            not learn from them.
        ret: f64 ``(n,)``, log return from entry to exit.
        ts_start_ns, ts_end_ns: i64 ``(n,)``, when a row is known and when its label is.
        symbol: i32 ``(n,)``, index of the symbol.
        row: i64 ``(n,)``, row in the symbol's bars.
        day: i32 ``(n,)``, trading day YYYYMMDD.
        target: f64 ``(n,)``, what a regression predicts.
        tick: f64 ``(n,)``, tick size over the price at the bar's close.
        side: int8 ``(n,)``, what a meta-label's first rule takes, never 0; 0 for other labels.
        kind: of the label; a regression learns ``target``, the others ``up``.
    """

    x: npt.NDArray[np.float32]
    up: npt.NDArray[np.int8]
    moved: npt.NDArray[np.bool_]
    ret: npt.NDArray[np.float64]
    ts_start_ns: npt.NDArray[np.int64]
    ts_end_ns: npt.NDArray[np.int64]
    symbol: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]
    day: npt.NDArray[np.int32]
    target: npt.NDArray[np.float64]
    tick: npt.NDArray[np.float64]
    side: npt.NDArray[np.int8]
    kind: str = "sign_return"

    @property
    def regression(self) -> bool:
        """Whether models predict a number."""
        return self.kind == "regression"

    def directed(self, rows: npt.NDArray[np.intp], scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Scores of some rows as they are traded: about the price, whatever the model was asked."""
        return directed(scores, self.side[rows]) if self.kind == "meta" else scores

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.up)

    @property
    def y(self) -> npt.NDArray[Any]:
        """What a model learns, shape ``(n,)``."""
        return self.target if self.regression else self.up

    def learnable(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """The rows that a model learns from: of a classifier those whose price moved."""
        return rows if self.regression else rows[self.moved[rows]]

    def lacking(self, rows: npt.NDArray[np.intp]) -> str:
        """Why nothing can be learnt from some rows; empty if something can."""
        if self.regression:
            kinds = len(np.unique(self.target[rows]))
            return "" if kinds > 1 else f"{kinds} different returns in {len(rows)} samples"
        moved = self.learnable(rows)
        ups = int(self.up[moved].sum())
        if 0 < ups < len(moved):
            return ""
        still = len(rows) - len(moved)
        neither = f", and {still} samples whose price did not move or touched no barrier in time" if still else ""
        return f"{ups} ups and {len(moved) - ups} downs{neither}"


def pool(symbols: Sequence[SymbolData], config: ExperimentConfig = ExperimentConfig()) -> Samples:
    """The samples of all symbols of an experiment.

    Raises:
        SourceError: there are none, or all move the same way.
    """
    parts = []
    for index, data in enumerate(symbols):
        rows = np.flatnonzero(data.usable & data.labels.valid & data.events)
        parts.append(
            Samples(
                x=data.features.values[rows],
                up=(data.labels.label[rows] > 0).astype(np.int8),
                moved=data.labels.label[rows] != 0,
                ret=data.labels.ret[rows],
                ts_start_ns=data.bars["ts_close_ns"][rows],
                ts_end_ns=data.labels.ts_end_ns[rows],
                symbol=np.full(len(rows), index, np.int32),
                row=rows.astype(np.int64),
                day=data.bars["day"][rows],
                target=data.target[rows],
                tick=data.tick[rows],
                side=np.zeros(len(rows), np.int8) if data.side is None else data.side[rows],
            )
        )
    columns: list[Any] = [np.concatenate(column) for column in zip(*(part[:-1] for part in parts), strict=True)]
    samples = Samples(*columns)._replace(kind=config.label.kind)
    lacking = samples.lacking(np.arange(samples.n))
    if lacking:
        raise SourceError(
            "the span gives nothing to learn from",
            expected=f"samples {'of different returns' if config.regression else 'of both signs'}: from bar "
            f"{config.features.warmup} of a day on, when {config.feature_set} is warm, and with a label "
            f"({config.label.reach}) that ends within the session and on the tape",
            actual=f"{_shortage(symbols)}, which makes {samples.n} samples: {lacking}",
            remedy="take a longer span, smaller bars or a shorter horizon"
            + (", or a primary rule that takes a side more often" if config.label.primary is not None else ""),
        )
    return samples


def _shortage(symbols: Sequence[SymbolData]) -> str:
    """How many bars there were, and what became of them."""
    bars = sum(len(data.bars) for data in symbols)
    longest = max((int(np.unique(data.bars["day"], return_counts=True)[1].max()) for data in symbols), default=0)
    usable = sum(int(data.usable.sum()) for data in symbols)
    known = sum(int((data.usable & data.labels.valid).sum()) for data in symbols)
    events = sum(int((data.usable & data.labels.valid & data.events).sum()) for data in symbols)
    told = f"{bars} bars (at most {longest} in a day), {usable} of them warm"
    if any(data.side is not None for data in symbols):
        taken = sum(int((data.usable & (data.side != 0)).sum()) for data in symbols if data.side is not None)
        told += f", {taken} at which the primary rule takes a side"
    told += f", {known} with a known label"
    return told if events == known else f"{told}, {events} of these events"


def save_binary(
    samples: Samples,
    feature_names: Sequence[str],
    parameters: dict[str, Any],
    path: Path,
    *,
    weight: npt.NDArray[np.float64] | None = None,
) -> lightgbm.Dataset:
    """Write LightGBM's binary data set, labels and weights included, and open it.

    Args:
        weight: of each sample, shape ``(n,)``; all 1 if left out.
        parameters: those of the training; binning depends on them.
        path: the file; an older one is replaced.
    """
    path.unlink(missing_ok=True)
    names = list(feature_names)
    data = lightgbm.Dataset(
        samples.x, label=samples.y, weight=weight, feature_name=names, params=parameters, free_raw_data=True
    )
    data.construct().save_binary(str(path))
    return lightgbm.Dataset(str(path), params=parameters)
