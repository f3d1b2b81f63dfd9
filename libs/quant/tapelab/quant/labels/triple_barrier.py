"""Triple barrier: which comes first, the profit, the stop or the end of the time allowed.

Over trades (:func:`triple_barrier_trades`) every print is seen, so nothing is ambiguous: the entry is that of
``fixed_horizon``, the label ends with the first later print at or beyond a barrier, and the return is to that
print. Over bars (:func:`triple_barrier_bars`) only a bar's extremes are: where one bar touches both barriers
the stop counts, and a stop that the bar's open is already beyond is filled at the open; a profit never earns
more than its barrier.

Whether a label is valid never depends on whether a barrier was touched: its whole horizon must end within the
session and be known. Otherwise the end of a tape would keep the labels that were decided quickly, and those alone.

Source: Lopez de Prado, "Advances in Financial Machine Learning" (2018), chapter 3.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.labels.first_touch import first_touch
from tapelab.quant.labels.fixed_horizon import Float64, Int64, Labels, Spans, spans_of_time, spans_of_trades

#: What a label is whose time ran out: 0, or the sign of its return.
Timeout = Literal["zero", "sign"]
Sides = npt.NDArray[np.int8]


def triple_barrier_trades(
    ts_close_ns: Int64,
    session_close_ns: Int64,
    tick_ts_ns: Int64,
    tick_price: Float64,
    *,
    upper: Float64,
    lower: Float64,
    horizon_ns: int | None = None,
    n_trades: int | None = None,
    delay_ns: int = 0,
    known_until_ns: int | None = None,
    timeout: Timeout = "zero",
) -> Labels:
    """The barrier that the trades after the entry reach first.

    Args:
        ts_close_ns: when each bar closed, shape (n,), never falling.
        session_close_ns: close of each bar's session, shape (n,).
        tick_ts_ns: times of the eligible trades in tape order, shape (m,).
        tick_price: their prices, shape (m,).
        upper: distance of the upper barrier as a fraction of the entry price, shape (n,), e.g. three times
            ``ewm_volatility``; +inf for none, NaN makes the label not valid.
        lower: distance of the lower one, likewise.
        horizon_ns: the time allowed from the entry, or
        n_trades: the trades allowed after it; exactly one of the two.
        delay_ns: from the bar's close to the entry.
        known_until_ns: as for ``sign_of_return``; only with ``horizon_ns``.
        timeout: the label where neither was reached.

    Returns:
        Labels: +1 the upper, -1 the lower barrier, else by ``timeout``; ``ret`` is the log return to the print
        that reached it (or at the horizon's end), ``ts_end_ns`` its time.

    Raises:
        ValueError: shapes disagree, a length is out of range, or closes that fall.
    """
    _check_widths(upper, lower, len(ts_close_ns))
    spans = _spans(
        ts_close_ns, session_close_ns, tick_ts_ns, tick_price, horizon_ns, n_trades, delay_ns, known_until_ns
    )
    n, m = len(ts_close_ns), len(tick_price)
    valid = spans.valid & ~np.isnan(upper) & ~np.isnan(lower)
    entry_price = np.full(n, np.nan)
    entry_price[valid] = tick_price[spans.entry[valid]]
    valid &= (entry_price > 0.0) & np.isfinite(entry_price)
    start = np.minimum(spans.entry + 1, m).astype(np.int64)
    stop = np.where(valid, np.maximum(np.minimum(spans.end + 1, m), start), start).astype(np.int64)
    touches = first_touch(tick_price, tick_price, start, stop, entry_price * (1.0 + upper), entry_price * (1.0 - lower))
    touched = touches.side != 0
    exit_row = np.where(touched, touches.row, spans.end)
    exit_price = np.full(n, np.nan)
    exit_price[valid] = tick_price[exit_row[valid]]
    end_ns = spans.end_ns.copy()
    end_ns[touched] = spans.seen_ns[touches.row[touched]]
    return _labels(touches.side, entry_price, exit_price, end_ns, valid, timeout)


def triple_barrier_bars(
    bars: npt.NDArray[np.void],
    *,
    upper: Float64,
    lower: Float64,
    horizon_bars: int,
    side: Sides | None = None,
    timeout: Timeout = "zero",
) -> Labels:
    """The barrier that the bars after the entry reach first; the entry is the bar's close.

    Args:
        bars: ``BAR_DTYPE``, shape (n,), in order; ``day``, ``ts_close_ns`` and the four prices are read.
        upper: distance of the upper barrier as a fraction of the close, shape (n,).
        lower: distance of the lower one.
        horizon_bars: bars allowed, at least 1; a label whose last bar is of a later day is not valid.
        side: the position the barriers belong to, +1 long (the default) or -1 short, shape (n,): it says
            which barrier is the stop.
        timeout: the label where neither was reached.

    Returns:
        Labels: +1 the upper, -1 the lower barrier, else by ``timeout``; ``ret`` is the log return from the
        close, not multiplied by the side; ``ts_end_ns`` is the close of the bar that reached it.

    Raises:
        ValueError: not ``BAR_DTYPE``, shapes disagree, or a horizon below 1.
    """
    if bars.dtype != BAR_DTYPE or bars.ndim != 1:
        raise ValueError(f"bars must be a vector of BAR_DTYPE, got shape {bars.shape} of {bars.dtype}")
    if horizon_bars < 1:
        raise ValueError(f"horizon_bars must be at least 1, got {horizon_bars}")
    n = len(bars)
    _check_widths(upper, lower, n)
    rows = np.arange(n, dtype=np.int64)
    last = np.minimum(rows + horizon_bars, n - 1)
    close, open_ = bars["close"].copy(), bars["open"].copy()
    valid = (rows + horizon_bars < n) & (bars["day"][last] == bars["day"])
    valid &= ~np.isnan(upper) & ~np.isnan(lower) & (close > 0.0) & np.isfinite(close)
    start = np.minimum(rows + 1, n)
    stop = np.where(valid, last + 1, start)
    above, below = close * (1.0 + upper), close * (1.0 - lower)
    touches = first_touch(bars["high"].copy(), bars["low"].copy(), start, stop, above, below, side=side)
    exit_row = np.where(touches.side != 0, np.minimum(touches.row, n - 1), last)
    exit_price = close[exit_row]
    short = np.zeros(n, np.bool_) if side is None else side < 0
    opened = open_[exit_row]
    for code, barrier, stops in ((1, above, short), (-1, below, ~short)):
        here = touches.side == code
        # The open beyond a stop is where the stop trades; np.fmax and np.fmin pass over an open that is NaN.
        gapped = np.fmax(opened, barrier) if code > 0 else np.fmin(opened, barrier)
        exit_price = np.where(here, np.where(stops, gapped, barrier), exit_price)
    return _labels(touches.side, close, exit_price, bars["ts_close_ns"][exit_row].copy(), valid, timeout)


def _check_widths(upper: Float64, lower: Float64, n: int) -> None:
    if upper.shape != (n,) or lower.shape != (n,):
        raise ValueError(f"expected one upper and lower distance per bar, got {upper.shape} and {lower.shape} for {n}")
    if bool((upper <= 0.0).any()) or bool((lower <= 0.0).any()):
        raise ValueError("expected distances of barriers above 0, got some at or below; leave a barrier out with +inf")


def _spans(
    ts_close_ns: Int64,
    session_close_ns: Int64,
    tick_ts_ns: Int64,
    tick_price: Float64,
    horizon_ns: int | None,
    n_trades: int | None,
    delay_ns: int,
    known_until_ns: int | None,
) -> Spans:
    if (horizon_ns is None) == (n_trades is None):
        raise ValueError(f"expected either horizon_ns or n_trades, got {horizon_ns} and {n_trades}")
    tape = ts_close_ns, session_close_ns, tick_ts_ns, tick_price
    if n_trades is not None:
        return spans_of_trades(*tape, n_trades=n_trades, delay_ns=delay_ns)
    assert horizon_ns is not None
    return spans_of_time(*tape, horizon_ns=horizon_ns, delay_ns=delay_ns, known_until_ns=known_until_ns)


def _labels(
    side: Sides,
    entry_price: Float64,
    exit_price: Float64,
    end_ns: Int64,
    valid: npt.NDArray[np.bool_],
    timeout: Timeout,
) -> Labels:
    n = len(side)
    valid = valid & (exit_price > 0.0) & np.isfinite(exit_price)
    ret = np.full(n, np.nan)
    ret[valid] = np.log(exit_price[valid] / entry_price[valid])
    label = np.where(valid, side, 0).astype(np.int8)
    if timeout == "sign":
        waited = valid & (side == 0)
        label[waited] = np.sign(exit_price[waited] - entry_price[waited])
    return Labels(label, ret, end_ns, valid)
