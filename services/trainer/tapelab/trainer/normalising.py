"""Fitting a model's own normaliser on its training rows, and scaling an experiment's rows by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.serving.normaliser import FittedNormaliser, FrozenScale, Scaler
from tapelab.quant.features import Normalisation
from tapelab.quant.features.fitted import fit_scale
from tapelab.trainer.dataset import Samples
from tapelab.trainer.etl import SymbolData


def fit_normaliser(
    samples: Samples, rows: npt.NDArray[np.intp], names: Sequence[str], config: ExperimentConfig
) -> FittedNormaliser | None:
    """The figures of some rows, which are all that it looks at; None where the experiment asks for no normaliser.

    Args:
        samples: raw values.
        rows: training rows, at least one.
        names: symbol of each index in ``samples.symbol``.
    """
    asked = config.normaliser
    if asked is None:
        return None
    # What each feature is by its own definition; the set itself leaves all of them raw.
    modes = [spec.normalisation for spec in config.features.specs]

    def fit(chosen: npt.NDArray[np.intp]) -> FrozenScale:
        scale = fit_scale(samples.x[chosen], modes, robust=asked.kind == "robust")
        return FrozenScale(centre=tuple(scale.centre.tolist()), spread=tuple(scale.spread.tolist()), rows=len(chosen))

    own = {name: rows[samples.symbol[rows] == index] for index, name in enumerate(names)}
    return FittedNormaliser(
        kind=asked.kind,
        clip=asked.clip,
        scaled=tuple(mode is not Normalisation.NONE for mode in modes),
        symbols={name: fit(chosen) for name, chosen in own.items() if len(chosen) >= asked.min_rows},
        pooled=fit(rows),
    ).sealed()


def scale(
    samples: Samples, symbols: Sequence[SymbolData], fitted: FittedNormaliser | None
) -> tuple[Samples, list[SymbolData]]:
    """Samples and symbols with their features scaled, by the class that scales live; as they are for None."""
    if fitted is None:
        return samples, list(symbols)
    scaler = Scaler(fitted, samples.x.shape[1], "of this experiment")
    scaled = [
        data._replace(features=data.features._replace(values=scaler.apply(data.features.values, [data.span.symbol])))
        for data in symbols
    ]
    x = np.empty_like(samples.x)
    for index, data in enumerate(symbols):
        mine = samples.symbol == index
        x[mine] = scaler.apply(samples.x[mine], [data.span.symbol])
    return samples._replace(x=x), scaled
