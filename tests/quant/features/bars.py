"""Seeded bars that look like a market's: consistent sides, prices on ticks, sessions, an empty closing bar."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapelab.quant.dtypes import BAR_DTYPE, TRAILING_WINDOWS, BarFlag

TICK = 0.5
SESSION_NS = 9 * 3_600_000_000_000
DAY_NS = 86_400_000_000_000
OPEN_NS = 1_767_358_800_000_000_000


def make_bars(seed: int, per_day: int, *, days: int = 1, agents: bool = True, closing: bool = True) -> Any:
    """``days`` sessions of ``per_day`` bars; the last of each is an empty closing bar if ``closing``."""
    return np.concatenate([_day(np.random.default_rng([seed, d]), d, per_day, agents, closing) for d in range(days)])


def renumbered(bars: Any) -> Any:
    """The same bars with ``seq`` counting from 0."""
    bars["seq"] = np.arange(len(bars))
    return bars


def _day(rng: np.random.Generator, day: int, n: int, agents: bool, closing: bool) -> Any:
    bars = np.zeros(n, BAR_DTYPE)
    bars["seq"] = day * n + np.arange(n)
    bars["day"] = 20260102 + day
    bars["session_open_ns"] = OPEN_NS + day * DAY_NS
    bars["session_close_ns"] = bars["session_open_ns"] + SESSION_NS
    ends = np.sort(rng.integers(1, SESSION_NS - 1, n))
    bars["ts_close_ns"] = bars["session_open_ns"] + ends
    bars["ts_open_ns"] = bars["session_open_ns"] + np.concatenate([[0], ends[:-1]])
    bars["n"] = rng.integers(1, 60, n)
    bars["buy_n"] = rng.binomial(bars["n"], rng.uniform(0.2, 0.8, n))
    bars["sell_n"] = bars["n"] - bars["buy_n"]
    bars["up_ticks"] = rng.binomial(bars["n"], 0.3)
    bars["down_ticks"] = rng.binomial(bars["n"], 0.3)
    bars["close"] = 1000.0 + TICK * np.cumsum(rng.integers(-4, 5, n))
    bars["open"] = bars["close"] + TICK * rng.integers(-2, 3, n)
    bars["high"] = np.maximum(bars["open"], bars["close"]) + TICK * rng.integers(0, 4, n)
    bars["low"] = np.minimum(bars["open"], bars["close"]) - TICK * rng.integers(0, 4, n)
    bars["vwap"] = rng.uniform(bars["low"], bars["high"])
    bars["buy_volume"] = rng.integers(0, 500, n)
    bars["sell_volume"] = rng.integers(0, 500, n)
    bars["volume"] = bars["buy_volume"] + bars["sell_volume"] + rng.integers(1, 20, n)
    bars["dollar"] = bars["vwap"] * bars["volume"]
    bars["dt_mean_s"] = rng.exponential(0.4, n)
    bars["dt_var_s2"] = (bars["dt_mean_s"] * rng.uniform(0.5, 2.0, n)) ** 2
    bars["realised_var"] = rng.exponential(1e-6, n)
    bars["buy_agent_hhi"] = rng.uniform(0.1, 1.0, n) if agents else np.nan
    bars["sell_agent_hhi"] = rng.uniform(0.1, 1.0, n) if agents else np.nan
    for suffix, length_ns in TRAILING_WINDOWS:
        seconds = length_ns / 1e9
        bars[f"ret_{suffix}"] = rng.normal(0.0, 1e-4 * np.sqrt(seconds), n)
        bars[f"n_{suffix}"] = rng.poisson(2.0 * seconds, n)
        bars[f"volume_{suffix}"] = rng.uniform(1.0, 100.0, n) * seconds
        bars[f"signed_volume_{suffix}"] = bars[f"volume_{suffix}"] * rng.uniform(-1.0, 1.0, n)
        bars[f"rv_{suffix}"] = rng.exponential(1e-7 * seconds, n)
    # Drawn from a generator of their own: figures of before they were there stay.
    more = np.random.default_rng([n, day])
    bars["rlp_volume"] = bars["volume"] * np.maximum(0.0, more.uniform(-0.2, 0.4, n))
    bars["large_volume"] = bars["volume"] * np.maximum(0.0, more.uniform(-0.5, 0.8, n))
    bars["large_signed_volume"] = bars["large_volume"] * more.uniform(-1.0, 1.0, n)
    for name in ("buy_agent_top3_share", "sell_agent_top3_share"):
        bars[name] = more.uniform(0.2, 1.0, n) if agents else np.nan
    for name in ("agent_net_buy_top3", "agent_net_sell_top3"):
        bars[name] = bars["volume"] * more.uniform(0.0, 0.5, n) if agents else np.nan
    bars["utc_offset_s"] = -10_800.0
    bars["flags"][0] |= BarFlag.FIRST_OF_DAY
    if closing and n > 1:
        _close(bars)
    return bars


def _close(bars: Any) -> None:
    last = bars[-1:]
    for name in BAR_DTYPE.names or ():
        if name not in ("seq", "day", "session_open_ns", "session_close_ns", "utc_offset_s"):
            last[name] = 0
    last["flags"] = BarFlag.SESSION_END
    last["ts_close_ns"] = last["session_close_ns"]
    for name in ("open", "high", "low", "close", "vwap"):
        last[name] = bars["close"][-2]
    for name in BAR_DTYPE.names or ():
        if "agent" in name:
            last[name] = np.nan
