"""Sign of the return over a fixed horizon, in time or in trades.

The rule, the same for both: a decision taken at a bar's close trades at ``entry_ns = ts_close_ns +
delay_ns``, at the price of the last eligible trade the tape shows up to and including that time; trades
that share the timestamp count as before it. The exit price is read by the same rule at the horizon's end.
A trade printed with an earlier time than one before it counts from the time the tape had reached.

A label is valid when its horizon ends within the session and is known: the tape shows a later trade, or
``known_until_ns`` says that it is complete up to there. So a longer tape never changes a valid label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


class Labels(NamedTuple):
    """One label per bar; every array has shape ``(n,)``.

    Args:
        label: int8; +1 up, -1 down, 0 unchanged or not valid.
        ret: float64, log return from entry to exit; NaN where not valid.
        ts_end_ns: int64, when the label is known: the span to purge ends here.
        valid: bool.
    """

    label: npt.NDArray[np.int8]
    ret: Float64
    ts_end_ns: Int64
    valid: npt.NDArray[np.bool_]


class Spans(NamedTuple):
    """Where labels begin and end on a tape of trades; shape ``(n,)`` each but for ``seen_ns``, ``(m,)``.

    Args:
        seen_ns: int64, the time the tape had reached at each trade.
        entry: row of the trade whose price is the entry's; -1 where there is none.
        end: row of the last trade that counts.
        end_ns: int64, when the horizon ends.
        valid: bool, the horizon ends within the session and is known.
    """

    seen_ns: Int64
    entry: npt.NDArray[np.intp]
    end: npt.NDArray[np.intp]
    end_ns: Int64
    valid: npt.NDArray[np.bool_]


def sign_of_return(
    ts_close_ns: Int64,
    session_close_ns: Int64,
    tick_ts_ns: Int64,
    tick_price: Float64,
    *,
    horizon_ns: int,
    delay_ns: int = 0,
    known_until_ns: int | None = None,
) -> Labels:
    """Sign of the return over ``horizon_ns`` from the entry.

    Args:
        ts_close_ns: when each bar closed, shape (n,).
        session_close_ns: close of each bar's session, shape (n,).
        tick_ts_ns: times of the eligible trades in tape order, shape (m,).
        tick_price: their prices, shape (m,).
        horizon_ns: length of the horizon, positive.
        delay_ns: from the bar's close to the entry.
        known_until_ns: the tape is complete up to and including this time; without it, up to before its
            last trade's time.

    Returns:
        Labels; ``ts_end_ns`` is the entry time plus the horizon. A horizon that ends after the session is
        not valid.

    Raises:
        ValueError: shapes disagree, or a length is out of range.
    """
    _, entry, end, end_ns, valid = spans_of_time(
        ts_close_ns,
        session_close_ns,
        tick_ts_ns,
        tick_price,
        horizon_ns=horizon_ns,
        delay_ns=delay_ns,
        known_until_ns=known_until_ns,
    )
    return _labels(tick_price, entry, end, end_ns, valid)


def spans_of_time(
    ts_close_ns: Int64,
    session_close_ns: Int64,
    tick_ts_ns: Int64,
    tick_price: Float64,
    *,
    horizon_ns: int,
    delay_ns: int = 0,
    known_until_ns: int | None = None,
) -> Spans:
    """The spans of :func:`sign_of_return`, with its arguments and errors."""
    if horizon_ns <= 0:
        raise ValueError(f"horizon_ns must be positive, got {horizon_ns}")
    seen_ns = _checked(ts_close_ns, session_close_ns, tick_ts_ns, tick_price, delay_ns)
    entry_ns = ts_close_ns + np.int64(delay_ns)
    end_ns = entry_ns + np.int64(horizon_ns)
    entry = np.searchsorted(seen_ns, entry_ns, side="right") - 1
    end = np.searchsorted(seen_ns, end_ns, side="right") - 1
    known_ns = int(seen_ns[-1]) - 1 if len(seen_ns) else np.iinfo(np.int64).min
    if known_until_ns is not None:
        known_ns = max(known_ns, known_until_ns)
    return Spans(seen_ns, entry, end, end_ns, (entry >= 0) & (end_ns <= session_close_ns) & (end_ns <= known_ns))


def sign_of_return_trades(
    ts_close_ns: Int64,
    session_close_ns: Int64,
    tick_ts_ns: Int64,
    tick_price: Float64,
    *,
    n_trades: int,
    delay_ns: int = 0,
) -> Labels:
    """Sign of the return to the ``n_trades``-th eligible trade after the entry.

    Arguments as for :func:`sign_of_return`.

    Returns:
        Labels; ``ts_end_ns`` is the time of that trade (the session's close where there is none). A trade
        after the session's close, or not on the tape, makes the label not valid.

    Raises:
        ValueError: shapes disagree, or a length is out of range.
    """
    _, entry, end, end_ns, valid = spans_of_trades(
        ts_close_ns, session_close_ns, tick_ts_ns, tick_price, n_trades=n_trades, delay_ns=delay_ns
    )
    return _labels(tick_price, entry, end, end_ns, valid)


def spans_of_trades(
    ts_close_ns: Int64,
    session_close_ns: Int64,
    tick_ts_ns: Int64,
    tick_price: Float64,
    *,
    n_trades: int,
    delay_ns: int = 0,
) -> Spans:
    """The spans of :func:`sign_of_return_trades`, with its arguments and errors."""
    if n_trades <= 0:
        raise ValueError(f"n_trades must be positive, got {n_trades}")
    seen_ns = _checked(ts_close_ns, session_close_ns, tick_ts_ns, tick_price, delay_ns)
    entry = np.searchsorted(seen_ns, ts_close_ns + np.int64(delay_ns), side="right") - 1
    end = entry + n_trades
    shown = (entry >= 0) & (end < len(seen_ns))
    end_ns = np.array(session_close_ns, dtype=np.int64)
    end_ns[shown] = seen_ns[end[shown]]
    return Spans(seen_ns, entry, end, end_ns, shown & (end_ns <= session_close_ns))


def _checked(
    ts_close_ns: Int64, session_close_ns: Int64, tick_ts_ns: Int64, tick_price: Float64, delay_ns: int
) -> Int64:
    if delay_ns < 0:
        raise ValueError(f"delay_ns must not be negative, got {delay_ns}")
    if ts_close_ns.shape != session_close_ns.shape or ts_close_ns.ndim != 1:
        raise ValueError(
            f"one session close per bar expected, got shapes {ts_close_ns.shape} and {session_close_ns.shape}"
        )
    if tick_ts_ns.shape != tick_price.shape or tick_ts_ns.ndim != 1:
        raise ValueError(f"one price per trade expected, got shapes {tick_ts_ns.shape} and {tick_price.shape}")
    return np.maximum.accumulate(tick_ts_ns)


def _labels(
    tick_price: Float64,
    entry: npt.NDArray[np.intp],
    end: npt.NDArray[np.intp],
    end_ns: Int64,
    valid: npt.NDArray[np.bool_],
) -> Labels:
    n = len(end_ns)
    label = np.zeros(n, dtype=np.int8)
    ret = np.full(n, np.nan)
    before, after = np.ones(n), np.ones(n)
    before[valid], after[valid] = tick_price[entry[valid]], tick_price[end[valid]]
    # A return needs two positive prices.
    valid = valid & (before > 0.0) & (after > 0.0) & np.isfinite(before) & np.isfinite(after)
    label[valid] = np.sign(after[valid] - before[valid])
    ret[valid] = np.log(after[valid] / before[valid])
    return Labels(label, ret, end_ns, valid)
