"""What tapelab computes itself, put to the prefix test: bars, feature sets, normalisers, labels, fills, folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.cli.check.orders import moved_fills, passive_fills, scaled
from tapelab.cli.check.prefix import SHARES, Leak, differing, prefix_test
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import NormaliserConfig
from tapelab.common.instruments import Instruments
from tapelab.common.serving.normaliser import FittedNormaliser
from tapelab.quant.backtest.engine import run_backtest
from tapelab.quant.backtest.fills import fills_not_after
from tapelab.quant.features import FEATURE_SETS, compute_features
from tapelab.quant.labels.fixed_horizon import Labels
from tapelab.quant.ticks import Ticks
from tapelab.trainer.dataset import pool
from tapelab.trainer.etl import SymbolData, compute, counting, order_fills
from tapelab.trainer.normalising import fit_normaliser
from tapelab.trainer.paths import split_paths
from tapelab.trainer.sources import SymbolTicks
from tapelab.trainer.strategy import backtest_columns
from tapelab.trainer.train import split, split_final

_SEED = 20_240_611
NORMALISERS: Final[tuple[Literal["zscore", "robust"], ...]] = ("zscore", "robust")
Fit = Callable[..., FittedNormaliser | None]
Times = npt.NDArray[np.int64]
Rows = npt.NDArray[np.intp]


def other_ticks(ticks: Ticks, rows: slice) -> Ticks:
    """A copy in which some prints have other prices, volumes and sides; their times stay."""
    price, volume, aggressor = ticks.price.copy(), ticks.volume.copy(), ticks.aggressor.copy()
    rng = np.random.default_rng(_SEED)
    count = len(price[rows])
    price[rows] *= np.exp(0.01 + np.cumsum(rng.normal(0.0, 3e-4, count)))
    volume[rows] *= rng.integers(2, 5, count)
    aggressor[rows] = -aggressor[rows]
    return ticks._replace(price=price, volume=volume, aggressor=aggressor)


def check_feature_sets(bars: npt.NDArray[np.void], tick_size: float) -> dict[str, list[Leak]]:
    """Every registered feature set with its normaliser, values and flags both."""
    found = {}
    for name, feature_set in FEATURE_SETS.items():

        def values(some: npt.NDArray[np.void], chosen: Any = feature_set) -> npt.NDArray[np.float64]:
            rows = compute_features(some, chosen, tick_size)
            return np.column_stack([rows.values.astype(np.float64), rows.warm, rows.after_gap])

        names = [*feature_set.names, "warm", "after_gap"]
        found[f"features {name}"] = prefix_test(f"features {name}", names, bars, values(bars), values)
    return found


def check_tape(item: SymbolTicks, config: ExperimentConfig, instruments: Instruments) -> dict[str, list[Leak]]:
    """Bars, the experiment's labels, events, fills and decisions, on tapes cut off and tapes with another future."""
    symbol, ticks = item.span.symbol, item.ticks
    whole = compute(item, config, instruments)
    found: dict[str, dict[str, Leak]] = {
        name: {} for name in ("bars", "labels", "events", "fills", "decisions", "orders")
    }

    def note(kind: str, column: str, rows: npt.NDArray[np.bool_], how: str) -> None:
        if rows.any():
            row = int(np.argmax(rows))
            leak = Leak(f"{kind} of {symbol}", column, row, int(whole.bars["ts_close_ns"][row]), how)
            found[kind].setdefault(column, leak)

    filled = passive_fills(item, whole, _expected(whole), config, instruments)
    for share in SHARES:
        k = int(ticks.n * share)
        if not 0 < k < ticks.n:
            continue
        begins_ns = int(np.maximum.accumulate(ticks.ts_event_ns)[k])
        cut_off = item._replace(ticks=ticks.slice(0, k), tape_ended=False)
        other = item._replace(ticks=other_ticks(ticks, slice(k, None)))
        for how, changed in (("cut off", cut_off), ("changed", other)):
            text = f"changes when the prints from number {k} on are {how}"
            after = compute(changed, config, instruments)
            # Bars whose last print lies before the cut and that are there without what follows.
            closed = whole.bars["last_tick_seq"] < item.span.first_seq + k
            closed &= whole.bars["ts_close_ns"] < begins_ns
            n = min(int(np.argmin(closed)) if not closed.all() else len(closed), len(after.bars))
            for name in whole.bars.dtype.names or ():
                note("bars", name, differing(whole.bars[name][:n], after.bars[name][:n]), text)
            _labels_after(whole.labels, after.labels, n, begins_ns, how == "cut off", note, text)
            note("events", "", whole.events[:n] != after.events[:n], text)
            _trading_after(whole, after, n, config, note, text)
            again = passive_fills(changed, after, _expected(after), config, instruments)
            counted = _counted_before(item, whole, n - 1, instruments)
            note("orders", "", moved_fills(filled, again, counted, len(whole.bars)), text)
    _fills_before(item, whole, config, instruments, note)
    return {f"{kind} of {symbol}": list(leaks.values()) for kind, leaks in found.items()}


def check_folds(symbols: Sequence[SymbolData], config: ExperimentConfig) -> dict[str, list[Leak]]:
    """Every split of the experiment: no label may be open while a sample of another part is.

    Splits are those of the folds and of the final fit, and of combinatorial validation where it is asked for.
    """
    samples = pool(symbols, config)
    parts = []
    for number, fold in enumerate(split(samples, config), start=1):
        parts += [("folds", f"fold {number}", name, *rows) for name, rows in _pairs(fold.train, fold.tune, [fold.test])]
    final = split_final(samples, config)
    parts += [("final fit", "final fit", name, *rows) for name, rows in _pairs(final.train, final.tune, [])]
    asked = config.validation.combinatorial
    for path in split_paths(samples, config, asked) if asked is not None else []:
        tested = f"combinatorial split {path.groups}"
        parts += [("combinatorial", tested, name, *rows) for name, rows in _pairs(path.train, path.tune, path.tests)]
    found: dict[str, list[Leak]] = {subject: [] for subject, *_ in parts}
    for subject, of, name, rows, judged in parts:
        leak = bleeding(of, samples.ts_start_ns, samples.ts_end_ns, rows, judged, f"{name} label is still open")
        found[subject] += [leak] if leak else []
    return found


def _pairs(train: Rows, tune: Rows, tests: Sequence[Rows]) -> list[tuple[str, tuple[Rows, Rows]]]:
    """What learns, and what it is judged on: each training part on what tunes and on what tests it."""
    learns = [("training", (train, tune))]
    return learns + [(name, (rows, test)) for test in tests for name, rows in (("training", train), ("tune", tune))]


def check_normalisers(
    symbols: Sequence[SymbolData], config: ExperimentConfig, fit: Fit = fit_normaliser
) -> dict[str, list[Leak]]:
    """Normalisers that models fit: whatever the rows outside a training part are, its figures stay.

    Args:
        symbols: with the values of a raw feature set.
        config: whose folds are taken.
        fit: what fits the figures.
    """
    samples = pool(symbols, config)
    folds = split(samples, config)
    names = [data.span.symbol for data in symbols]
    found: dict[str, list[Leak]] = {}
    for kind in NORMALISERS:
        asked = msgspec.structs.replace(config, normaliser=NormaliserConfig(kind=kind))
        subject, leaks = f"normaliser {kind}", []
        for number, fold in enumerate(folds, start=1):
            outside = np.setdiff1d(np.arange(samples.n), fold.train)
            x = samples.x.copy()
            x[outside] = 1e3 * (1.0 + np.abs(x[outside]))
            if fit(samples._replace(x=x), fold.train, names, asked) != fit(samples, fold.train, names, asked):
                row = int(fold.test[0])
                what = f"figures fitted for fold {number} change with rows that its training part does not hold"
                leaks.append(Leak(subject, "", row, int(samples.ts_start_ns[row]), what))
        found[subject] = leaks
    return found


def bleeding(
    subject: str, start_ns: Times, end_ns: Times, train: npt.NDArray[Any], test: npt.NDArray[Any], what: str
) -> Leak | None:
    """The first sample to learn from whose label's span overlaps that of a sample it is judged on."""
    begun = np.searchsorted(np.sort(start_ns[test]), end_ns[train], side="right")
    over = np.searchsorted(np.sort(end_ns[test]), start_ns[train], side="left")
    rows = train[begun > over]
    if not len(rows):
        return None
    row = int(rows[0])
    return Leak(subject, "", row, int(start_ns[row]), f"a {what} when a sample it is judged on begins, {len(rows)} are")


def _labels_after(whole: Labels, after: Labels, n: int, begins_ns: int, cut_off: bool, note: Any, text: str) -> None:
    """Labels that had ended before the cut, and those valid without what follows, stay as they are."""
    settled = whole.valid[:n] & (whole.ts_end_ns[:n] < begins_ns)
    if cut_off:
        # Whether a label is known may depend on how far the tape goes; what it is may not.
        settled = after.valid[:n]
    for name in ("label", "ret", "ts_end_ns"):
        left, right = getattr(whole, name)[:n], getattr(after, name)[:n]
        note("labels", name, settled & differing(left, right), text)
    if not cut_off:
        note("labels", "valid", settled & ~after.valid[:n], text)


def _expected(data: SymbolData) -> npt.NDArray[np.float64]:
    """Made-up expectations: a feature, large enough to trade."""
    return data.features.values[:, 0].astype(np.float64) * 1e-2


def _counted_before(item: SymbolTicks, data: SymbolData, bar: int, instruments: Instruments) -> int:
    """How many prints that count come before a bar's last one; 0 before the first bar."""
    counts = counting(item, instruments)
    return int(counts[: data.bars["last_tick_seq"][bar] - item.span.first_seq].sum()) if bar >= 0 else 0


def _trading_after(
    whole: SymbolData, after: SymbolData, n: int, config: ExperimentConfig, note: Any, text: str
) -> None:
    """Positions and what they cost, on made-up expectations, before a cut at bar ``n``."""
    results = []
    for data in (whole, after):
        columns, named = backtest_columns(scaled(data), slice(0, len(data.bars)), _expected(data), config)
        results.append((run_backtest(*columns, **named), named))
    (one, ours), (other, theirs) = results
    for name in ("spread", "volatility", "volume"):
        if ours[name] is not None:
            note("fills", name, differing(ours[name][:n], theirs[name][:n]), text)
    # A backtest ends flat, so its last row is not compared.
    last = max(n - 1, 0)
    note("decisions", "", one.side[:last] != other.side[:last], text)
    # Fees and slippage scale with the price of the fill, which a print after the cut may make.
    same = whole.fill_price[:last] == after.fill_price[:last]
    note("fills", "cost", same & differing(one.cost[:last], other.cost[:last]), text)


def _fills_before(
    item: SymbolTicks, whole: SymbolData, config: ExperimentConfig, instruments: Instruments, note: Any
) -> None:
    """No order may be filled at a print that was out when it was decided, at any bar."""
    bars, counts = whole.bars, counting(item, instruments)
    tick_ts, tick_price = item.ticks.ts_event_ns[counts], item.ticks.price[counts]

    def rule(price: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return order_fills(bars, tick_ts, price, config.latency_ns)

    close_ns = bars["session_close_ns"].copy()
    early = fills_not_after(rule, bars["ts_close_ns"].copy(), tick_ts, close_ns)
    note("fills", "", early, "the fill is at a print that was out when the bar decided")
    # The rule that was tested is the one that the backtest trades at.
    note("fills", "", differing(rule(tick_price), whole.fill_price), "the fill is not that of the rule")
