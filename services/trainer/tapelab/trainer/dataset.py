"""Samples of all symbols in one matrix, and LightGBM's binary form of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import numpy.typing as npt

from tapelab.common.errors import SourceError
from tapelab.trainer.etl import SymbolData


class Samples(NamedTuple):
    """Rows that are usable, events, and have a valid label, symbol after symbol, in time order within each.

    Args:
        x: float32 ``(n, n_features)``.
        up: int8 ``(n,)``, 1 where the return is positive.
        moved: bool ``(n,)``, false where the price did not change: such rows calibrate but do not train.
        ret: f64 ``(n,)``, log return from entry to exit.
        ts_start_ns, ts_end_ns: i64 ``(n,)``, when a row is known and when its label is.
        symbol: i32 ``(n,)``, index of the symbol.
        row: i64 ``(n,)``, row in the symbol's bars.
        day: i32 ``(n,)``, trading day YYYYMMDD.
        target: f64 ``(n,)``, what a regression predicts.
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

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.up)


def pool(symbols: Sequence[SymbolData]) -> Samples:
    """The samples of all symbols.

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
            )
        )
    columns: list[Any] = [np.concatenate(column) for column in zip(*parts, strict=True)]
    samples = Samples(*columns)
    ups = int(samples.up[samples.moved].sum())
    if not 0 < ups < int(samples.moved.sum()):
        raise SourceError(
            "the span gives nothing to learn from",
            expected="samples of both signs, after warm-up and with a known label",
            actual=f"{samples.n} samples from {sum(len(d.bars) for d in symbols)} bars, {ups} of them up",
            remedy="take a longer span, smaller bars or a shorter horizon",
        )
    return samples


def save_binary(
    samples: Samples,
    feature_names: Sequence[str],
    parameters: dict[str, Any],
    path: Path,
    *,
    weight: npt.NDArray[np.float64] | None = None,
    regression: bool = False,
) -> lightgbm.Dataset:
    """Write LightGBM's binary data set, labels and weights included, and open it.

    Args:
        weight: of each sample, shape ``(n,)``; all 1 if left out.
        regression: the label is ``target`` instead of ``up``.
        parameters: those of the training; binning depends on them.
        path: the file; an older one is replaced.
    """
    path.unlink(missing_ok=True)
    label = samples.target if regression else samples.up
    names = list(feature_names)
    data = lightgbm.Dataset(
        samples.x, label=label, weight=weight, feature_name=names, params=parameters, free_raw_data=True
    )
    data.construct().save_binary(str(path))
    return lightgbm.Dataset(str(path), params=parameters)
