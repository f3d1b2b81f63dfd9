"""From prints to samples, by the functions that run live: bars, features, labels and fills of each symbol."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.common.errors import SourceError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import Span
from tapelab.common.instruments import Instruments
from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.fills import fills_after_latency
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.rules import eligible
from tapelab.quant.calendar import TRADING_DAYS_PER_YEAR
from tapelab.quant.dtypes import TICK_COLUMNS, BarFlag
from tapelab.quant.features import FeatureRows, compute_features
from tapelab.quant.labels.fixed_horizon import Labels
from tapelab.quant.labels.meta import meta_labels
from tapelab.trainer.labelling import LabelledBars, label_bars
from tapelab.trainer.orders import Orders, orders_of
from tapelab.trainer.sources import SymbolTicks
from tapelab.trainer.spreads import spread_of


class SymbolData(NamedTuple):
    """One symbol's span, computed.

    Args:
        bars: ``BAR_DTYPE``, shape ``(n,)``; everything below has one row per bar.
        features: values float32 ``(n, n_features)``, warm, after_gap.
        labels: from the entry after the latency.
        events: bars to learn from and to be scored on; trading looks at every usable one.
        target: what a regression predicts, f64; NaN where the label is not valid.
        fill_price: where an order decided at the bar trades, f64.
        usable: the live rule would decide on the row: warm and not after a gap.
        costs: costs per side.
        frictions: what fills pay beyond them.
        timezone: the exchange's, IANA name.
        days_per_year: trading days of its calendar.
        side: int8, what a meta-label's first rule takes; None for other labels.
        orders: where fills come print by print.
        spread: that fills cross, price units; None for the costs' own.
    """

    span: Span
    bars: npt.NDArray[np.void]
    features: FeatureRows
    labels: Labels
    events: npt.NDArray[np.bool_]
    target: npt.NDArray[np.float64]
    fill_price: npt.NDArray[np.float64]
    usable: npt.NDArray[np.bool_]
    costs: CostModel
    frictions: Frictions = Frictions()
    timezone: str = "UTC"
    days_per_year: int = TRADING_DAYS_PER_YEAR
    side: npt.NDArray[np.int8] | None = None
    orders: Orders | None = None
    spread: npt.NDArray[np.float64] | None = None

    @property
    def tick(self) -> npt.NDArray[np.float64]:
        """Tick size over the price at each bar's close."""
        tick: npt.NDArray[np.float64] = self.costs.tick_size / self.bars["close"]
        return tick

    @property
    def session_end(self) -> npt.NDArray[np.bool_]:
        """Which bars are the last of their session."""
        ends: npt.NDArray[np.bool_] = (self.bars["flags"] & int(BarFlag.SESSION_END)) != 0
        return ends


def data_digest(loaded: Sequence[SymbolTicks]) -> str:
    """sha256 over symbols, spans and every column of their prints, 64 hex digits."""
    digest = hashlib.sha256()
    for item in loaded:
        span = item.span
        digest.update(f"{span.symbol}\x1f{span.stream}\x1f{span.first_seq}\x1f{span.last_seq}\n".encode())
        for (_, dtype), column in zip(TICK_COLUMNS, item.ticks, strict=True):
            digest.update(np.ascontiguousarray(column, dtype=dtype).data)
    return digest.hexdigest()


def cost_model(symbol: str, config: ExperimentConfig, instruments: Instruments) -> CostModel:
    """Costs per side of a symbol: the instrument's, or those the experiment gives instead."""
    return instruments.of(symbol).cost_model(config.costs)


def counting(item: SymbolTicks, instruments: Instruments) -> npt.NDArray[np.bool_]:
    """Which prints of a symbol enter bars and fill orders."""
    symbol = item.span.symbol
    return eligible(item.ticks, instruments.calendar(symbol), instruments.of(symbol).bar_trade_types)


def order_fills(
    bars: npt.NDArray[np.void],
    tick_ts: npt.NDArray[np.int64],
    tick_price: npt.NDArray[np.float64],
    latency_ns: int | npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Where an order decided at each bar trades, given the prints that count; always a price.

    Raises:
        SourceError: a bar's session has no print before its close to trade at.
    """
    ts, close = bars["ts_close_ns"].copy(), bars["session_close_ns"].copy()
    filled = fills_after_latency(ts, tick_ts, tick_price, latency_ns, close)
    lacking = np.flatnonzero(~np.isfinite(filled))
    if len(lacking):
        raise SourceError(
            "an order has no print to trade at",
            expected="for every bar a print with a price before the close of its session",
            actual=f"none for {len(lacking)} of {len(bars)} bars, the first closed at {int(ts[lacking[0]])}",
            remedy="correct the times of the tape or the instrument's sessions",
        )
    return filled


def compute(item: SymbolTicks, config: ExperimentConfig, instruments: Instruments) -> SymbolData:
    """Bars, features, labels and fills of one symbol.

    Raises:
        SourceError: the prints make no bar.
    """
    symbol = item.span.symbol
    instrument, calendar = instruments.of(symbol), instruments.calendar(symbol)
    bars = compute_bars(
        item.ticks,
        config.bar_spec,
        calendar,
        instrument.bar_trade_types,
        first_seq=item.span.first_seq,
        tape_ended=item.tape_ended,
    )
    if not len(bars):
        raise SourceError(
            f"the prints of {symbol} make no bar",
            expected=f"enough eligible prints for a bar of {config.bars}",
            actual=f"{item.ticks.n} prints, of which types {list(instrument.bar_trade_types)} count",
            remedy="take a longer span or smaller bars, or correct the instrument's sessions and trade types",
        )
    counts = counting(item, instruments)
    tick_ts, tick_price = item.ticks.ts_event_ns[counts], item.ticks.price[counts]
    features = compute_features(bars, config.features, instrument.tick_size)
    costs = cost_model(symbol, config, instruments)
    primary = config.label.primary
    side = None if primary is None else primary.side(features.values, config.features.names)
    labelled: LabelledBars = label_bars(bars, tick_ts, tick_price, config, costs, side)
    labels = labelled.labels
    if side is not None:
        judged = meta_labels(labels, side)
        # The label is the bet's; the return stays the price's, which the calibration and the deciles are about.
        labels = judged._replace(ret=np.where(judged.valid, labels.ret, np.nan))
    return SymbolData(
        span=item.span,
        bars=bars,
        features=features,
        labels=labels,
        events=labelled.events,
        target=labelled.target,
        fill_price=order_fills(bars, tick_ts, tick_price, config.latency_ns),
        usable=features.warm & ~features.after_gap,
        costs=costs,
        frictions=config.backtest.limited((config.costs or instrument.costs).frictions),
        spread=spread_of(item, counts, bars, costs, config.backtest),
        orders=orders_of(item.ticks, counts, item.span.first_seq, bars, config.latency_ns, config.backtest)
        if config.backtest.by_ticks
        else None,
        timezone=instruments.sessions[instrument.session].timezone,
        days_per_year=instruments.calendar(item.span.symbol).days_per_year,
        side=side,
    )
