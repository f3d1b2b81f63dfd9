"""Other values where a fit must not look: samples and symbols that tell another story from some moment on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tapelab.trainer.dataset import Samples
from tapelab.trainer.etl import SymbolData


def other_samples(samples: Samples, rows: npt.NDArray[np.bool_]) -> Samples:
    """A copy in which some samples have other features, labels, returns and targets; their times stay."""
    x, up, ret = samples.x.copy(), samples.up.copy(), samples.ret.copy()
    target, tick, moved = samples.target.copy(), samples.tick.copy(), samples.moved.copy()
    x[rows], up[rows], ret[rows] = 7.0 - 2.0 * x[rows], 1 - up[rows], 1.0
    target[rows], tick[rows], moved[rows] = 9.0, 0.5, True
    return samples._replace(x=x, up=up, ret=ret, target=target, tick=tick, moved=moved)


def other_symbols(symbols: Sequence[SymbolData], spans: Sequence[tuple[int, int]]) -> list[SymbolData]:
    """Copies whose bars that close in ``[start, end)`` of a span are others in all but their times."""
    return [_other(data, spans, seed) for seed, data in enumerate(symbols)]


def _other(data: SymbolData, spans: Sequence[tuple[int, int]], seed: int) -> SymbolData:
    ts = data.bars["ts_close_ns"]
    rows = np.zeros(len(ts), bool)
    for start_ns, end_ns in spans:
        rows |= (ts >= start_ns) & (ts < end_ns)
    rng, n = np.random.default_rng(seed), int(rows.sum())
    bars, values = data.bars.copy(), data.features.values.copy()
    # Moves far beyond any cost, so that whoever trades these rows earns or loses more than on all the others.
    walk = np.exp(np.cumsum(rng.normal(0.0, 0.02, n)))
    for name in ("open", "high", "low", "close", "vwap"):
        bars[name][rows] *= walk
    bars["volume"][rows] *= 3.0
    bars["realised_var"][rows] += 1e-4
    values[rows] = 7.0 - 2.0 * values[rows]
    fill, target, ret = data.fill_price.copy(), data.target.copy(), data.labels.ret.copy()
    label, valid, usable = data.labels.label.copy(), data.labels.valid.copy(), data.usable.copy()
    fill[rows] = bars["close"][rows] * np.exp(rng.normal(0.0, 0.02, n))
    target[rows], ret[rows], label[rows], valid[rows], usable[rows] = 9.0, 1.0, -label[rows], True, True
    return data._replace(
        bars=bars,
        features=data.features._replace(values=values),
        labels=data.labels._replace(ret=ret, label=label, valid=valid),
        target=target,
        fill_price=fill,
        usable=usable,
    )
