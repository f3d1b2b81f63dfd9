"""Samples as Parquet, for notebooks and other tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tapelab.common.experiments.config import ExperimentConfig
from tapelab.quant.validation.walk_forward import Fold
from tapelab.trainer.dataset import Samples
from tapelab.trainer.etl import SymbolData
from tapelab.trainer.labelling import training_weights

_PARTS = ("train", "tune", "test")


def write_samples(
    samples: Samples, symbols: Sequence[SymbolData], folds: Sequence[Fold], config: ExperimentConfig, path: Path
) -> None:
    """One row per sample: identity, times, label, return, the features, and per fold the part it belongs to.

    A regression's ``target``, the ``side`` that a meta-label judges, and the ``weight`` that each row has as a
    training row among all of them, are columns where the experiment asks for them. Columns ``fold_1`` .. ``fold_n``
    hold ``train``, ``tune``, ``test`` or null (purged, or later).
    """
    names = np.array([data.span.symbol for data in symbols])
    bar_seq = np.concatenate(
        [data.bars["seq"][samples.row[samples.symbol == index]] for index, data in enumerate(symbols)]
    )
    columns = {
        "symbol": pa.array(names[samples.symbol]).dictionary_encode(),
        "bar_seq": pa.array(bar_seq),
        "ts_start_ns": pa.array(samples.ts_start_ns),
        "ts_end_ns": pa.array(samples.ts_end_ns),
        "up": pa.array(samples.up),
        "moved": pa.array(samples.moved),
        "ret": pa.array(samples.ret),
    }
    if config.label.kind == "regression":
        columns["target"] = pa.array(samples.target)
    if config.label.kind == "meta":
        columns["side"] = pa.array(samples.side)
    weight = training_weights(
        [data.bars for data in symbols],
        samples.symbol,
        samples.row,
        samples.ts_start_ns,
        samples.ts_end_ns,
        config.label,
    )
    if weight is not None:
        columns["weight"] = pa.array(weight)
    columns |= {name: pa.array(samples.x[:, i]) for i, name in enumerate(config.features.names)}
    for number, fold in enumerate(folds, start=1):
        part = np.full(samples.n, -1, np.int8)
        for code, rows in enumerate((fold.train, fold.tune, fold.test)):
            part[rows] = code
        codes = pa.array(part, mask=part < 0)
        columns[f"fold_{number}"] = pa.DictionaryArray.from_arrays(codes, pa.array(_PARTS))
    pq.write_table(pa.table(columns), path)
