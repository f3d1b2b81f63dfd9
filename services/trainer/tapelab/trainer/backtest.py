"""A finished model on any tape, by the steps with which the trainer judges one: bars to scores to fills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.common.errors import ModelMismatch
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import BacktestConfig, SourceConfig, Span
from tapelab.common.experiments.reading import parse_config
from tapelab.common.instruments import Instruments
from tapelab.common.serving.load import Artifacts, ServingModel, load_model
from tapelab.common.serving.manifest import Manifest
from tapelab.quant.backtest.latency import Latency
from tapelab.quant.backtest.print_engine import PrintBacktest
from tapelab.quant.backtest.results import BacktestResult
from tapelab.quant.features import FEATURE_SETS
from tapelab.trainer.etl import compute, counting, order_fills
from tapelab.trainer.progress import Report
from tapelab.trainer.sources import FileSource, SymbolTicks
from tapelab.trainer.strategy import Strategy, backtest_rows


class Settings(NamedTuple):
    """What a backtest changes about the model's own settings; None keeps those.

    Args:
        threshold: fraction of the price.
        latency: from decision to market.
        trading: how changes of position are traded, how large and at which spread.
    """

    threshold: float | None = None
    latency: Latency | None = None
    trading: BacktestConfig | None = None


class Backtested(NamedTuple):
    """One symbol's backtest, with the columns of its bars that a report shows.

    ``on_prints`` has the fills of a backtest print by print. ``in_sample`` is the share of bars that the model was made
    from; None where its manifest does not say.
    """

    symbol: str
    currency: str
    ts_ns: npt.NDArray[np.int64]
    day: npt.NDArray[np.int32]
    price: npt.NDArray[np.float64]
    result: BacktestResult
    on_prints: PrintBacktest | None = None
    in_sample: float | None = None


class _Served:
    """A model as a scorer of one symbol."""

    def __init__(self, model: ServingModel, symbol: str) -> None:
        self._model = model
        self._symbol = symbol

    def scores(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        return self._model.predict(x, [self._symbol])


def model_config(manifest: Manifest) -> ExperimentConfig:
    """The experiment that made a model, for any symbols.

    Raises:
        ModelMismatch: the manifest holds none, or its features are not those of this release.
    """
    try:
        raw = dict(manifest.training["config"])
    except (KeyError, TypeError) as error:
        raise ModelMismatch(
            f"model {manifest.model_id} does not say how it was trained",
            expected="training.config in its manifest",
            actual="none",
            remedy="train it again with this release (tapelab train)",
        ) from error
    config = parse_config(raw | {"spans": [], "symbols": [], "roots": [], "cut_ts_ns": None}, manifest.model_id)
    known = FEATURE_SETS[manifest.feature_set].id if manifest.feature_set in FEATURE_SETS else "no such set"
    if known != manifest.feature_set_id:
        raise ModelMismatch(
            f"model {manifest.model_id} was trained on other features",
            expected=f"feature set {manifest.feature_set_id} ({manifest.feature_set})",
            actual=known,
            remedy="train it again with this release (tapelab train)",
        )
    return config


async def read_tape(
    config: ExperimentConfig,
    instruments: Instruments,
    source: SourceConfig,
    symbols: Sequence[str],
    report: Report,
) -> list[SymbolTicks]:
    """All prints of the wanted symbols of a tape; of every symbol where none is named.

    Raises:
        TapelabError: the tape cannot be read, or lacks a symbol.
    """
    chosen = msgspec.structs.replace(config, source=source, symbols=tuple(symbols))
    tape = FileSource(instruments)
    spans: list[Span] = await tape.freeze(chosen, report)
    return await tape.load(chosen, spans, report)


def backtest_model(
    manifest: Manifest, store: Artifacts, item: SymbolTicks, instruments: Instruments, settings: Settings
) -> Backtested:
    """Trade one symbol's prints by a model; with the model's own settings this is the trainer's own backtest.

    Raises:
        TapelabError: the model cannot be loaded, or the prints make no bar.
    """
    config, model = model_config(manifest), load_model(manifest, store)
    if settings.trading is not None:
        config = msgspec.structs.replace(config, backtest=settings.trading)
    data = compute(item, config, instruments)
    if settings.latency is not None:
        counts, delays = counting(item, instruments), settings.latency.draw(len(data.bars))
        ticks = item.ticks.ts_event_ns[counts], item.ticks.price[counts]
        data = data._replace(fill_price=order_fills(data.bars, *ticks, delays))
        if data.orders is not None:
            data = data._replace(orders=data.orders._replace(latency_ns=delays))
    # A served model knows its first rule itself.
    data = data._replace(side=None)
    threshold = manifest.decision.threshold if settings.threshold is None else settings.threshold
    strategy = Strategy(_Served(model, item.span.symbol), manifest.calibration, threshold)
    result, on_prints = backtest_rows(data, slice(0, len(data.bars)), strategy, config)
    return Backtested(
        symbol=item.span.symbol,
        currency=instruments.of(item.span.symbol).currency,
        ts_ns=data.bars["ts_close_ns"],
        day=data.bars["day"],
        price=data.bars["close"],
        result=result,
        on_prints=on_prints,
        in_sample=in_sample(manifest, item.span.symbol, data.bars["ts_close_ns"]),
    )


def in_sample(manifest: Manifest, symbol: str, ts_close_ns: npt.NDArray[np.int64]) -> float | None:
    """Share of a symbol's bars that close within the event times the model was fitted and set up on.

    None for a model whose manifest holds no event times; 0 for a symbol that it was not trained on.
    """
    learnt = manifest.training.get("event_times")
    if learnt is None:
        return None
    if symbol not in learnt:
        return 0.0
    first_ns, last_ns = learnt[symbol]
    return float(np.mean((ts_close_ns >= first_ns) & (ts_close_ns <= last_ns)))
