"""When and where an order trades: latency between the decision and the fill."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt


def fills_after_latency(
    ts_ns: npt.NDArray[np.int64],
    tick_ts_ns: npt.NDArray[np.int64],
    tick_price: npt.NDArray[np.float64],
    latency_ns: int | npt.NDArray[np.int64],
    session_close_ns: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Price at which an order decided at each bar trades, costs not included.

    The order reaches the market at ``ts_ns + latency_ns`` and trades at the first print strictly later
    than that: strictly, because prints with the bar's own time stamp may lie before its last one on tapes
    with coarse times. Where the session closes first, it trades at the session's last print, so an order
    is never filled in another session. Spread and slippage come on top as costs (``costs.one_side_cost``).

    Args:
        ts_ns: decision times (bar closes), shape ``(n,)``.
        tick_ts_ns: event times of the prints that count, in tape order, shape ``(m,)``. Where a time goes
            back, the print is taken as seen at the latest time before it.
        tick_price: their prices, shape ``(m,)``.
        latency_ns: from decision to market, >= 0; one for all, or one per bar (``latency.Latency.draw``).
        session_close_ns: close of each bar's session, shape ``(n,)``.

    Returns:
        f64 of shape ``(n,)``; NaN where no print lies before the session's close.

    Raises:
        ValueError: a negative latency or shapes that disagree.
    """
    delays = np.asarray(latency_ns, np.int64)
    if delays.size and delays.min() < 0:
        raise ValueError(f"latency_ns: expected >= 0, got {delays.min()}")
    if delays.ndim and delays.shape != ts_ns.shape:
        raise ValueError(f"latency_ns: expected one, or shape {ts_ns.shape} like ts_ns, got {delays.shape}")
    if ts_ns.shape != session_close_ns.shape or tick_ts_ns.shape != tick_price.shape:
        raise ValueError(
            "expected one session close per bar and one price per print, got shapes "
            f"{ts_ns.shape}, {session_close_ns.shape} and {tick_ts_ns.shape}, {tick_price.shape}"
        )
    seen_ns = np.maximum.accumulate(tick_ts_ns) if len(tick_ts_ns) else tick_ts_ns
    first_after = np.searchsorted(seen_ns, ts_ns + delays, side="right")
    last_of_session = np.searchsorted(seen_ns, session_close_ns, side="left") - 1
    row = np.minimum(first_after, last_of_session)
    filled = np.full(len(ts_ns), np.nan)
    found = row >= 0
    filled[found] = tick_price[row[found]]
    return filled


#: A way to fill orders: ``fills(tick_price)`` gives the price at each bar.
FillRule = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def fills_not_after(
    fills: FillRule,
    ts_ns: npt.NDArray[np.int64],
    tick_ts_ns: npt.NDArray[np.int64],
    session_close_ns: npt.NDArray[np.int64],
) -> npt.NDArray[np.bool_]:
    """Which bars are filled at a print that was out when the bar decided: the same-bar fills of a look-ahead.

    The rule is run over the prints' numbers instead of their prices, so that what it returns says which print
    it took. Where no print follows before the session's close, the last one of the session is allowed.

    Args:
        fills: fills every bar, given the prices of the prints; it must take prints' prices as they are.
        ts_ns: decision times, shape ``(n,)``.
        tick_ts_ns: times of the prints, in tape order, shape ``(m,)``.
        session_close_ns: close of each bar's session, shape ``(n,)``.

    Returns:
        bool of shape ``(n,)``.
    """
    taken = fills(np.arange(len(tick_ts_ns), dtype=np.float64))
    seen_ns = np.maximum.accumulate(tick_ts_ns) if len(tick_ts_ns) else tick_ts_ns
    first_after = np.searchsorted(seen_ns, ts_ns, side="right")
    last_of_session = np.searchsorted(seen_ns, session_close_ns, side="left") - 1
    found: npt.NDArray[np.bool_] = np.isfinite(taken) & (taken < np.minimum(first_after, last_of_session))
    return found
