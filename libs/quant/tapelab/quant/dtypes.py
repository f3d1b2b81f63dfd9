"""Structured dtypes: the contract of every kernel.

Units ride in the names: ``_ns`` is nanoseconds since the Unix epoch (UTC), ``_s`` seconds.
Prices are in the instrument's quote unit, volumes in its lots, dollar values are price times volume.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import numpy as np


class Aggressor(IntEnum):
    """Side that crossed the spread."""

    SELL = -1
    UNKNOWN = 0
    BUY = 1


class AggressorSource(IntEnum):
    """Where a tick's aggressor comes from, best first."""

    NONE = 0
    VENUE = 1
    TRADE_TYPE = 2
    QUOTE_RULE = 3
    TICK_RULE = 4


class TradeType(IntEnum):
    """Trade types as B3 and Nelogica number them (ProfitDLL manual 4.0.0.30).

    ``NONE`` (0) marks a venue that has no such notion; only 2 and 3 carry a direction.
    Codes that are not listed here are kept as they come.
    """

    NONE = 0
    CROSS = 1
    BUYER_AGGRESSOR = 2
    SELLER_AGGRESSOR = 3
    AUCTION = 4
    SURVEILLANCE = 5
    EXPIT = 6
    OPTION_EXERCISE = 7
    OVER_THE_COUNTER = 8
    DERIVATIVE_TERM = 9
    INDEX = 10
    BTC = 11
    ON_BEHALF = 12
    RLP = 13
    UNKNOWN = 32


class TickFlag(IntFlag):
    """What is special about a print."""

    AUCTION = 1
    CROSS = 2
    RLP = 4
    ODD_LOT = 8
    SUSPICIOUS = 16
    CANCELLED = 32


class BarFlag(IntFlag):
    """What is special about a bar."""

    SESSION_END = 1
    AFTER_GAP = 2
    FIRST_OF_DAY = 4


#: Columns of a tick chunk, in wire order: (name, little-endian dtype).
TICK_COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    ("ts_event_ns", "<i8"),
    ("price", "<f8"),
    ("volume", "<f8"),
    ("aggressor", "i1"),
    ("aggressor_source", "u1"),
    ("trade_type", "u1"),
    ("flags", "<u2"),
    ("buy_agent", "<i4"),
    ("sell_agent", "<i4"),
    ("trade_id", "<i8"),
)

#: Trailing windows every bar carries, ``(ts_close - w, ts_close]``: (suffix, nanoseconds).
TRAILING_WINDOWS: Final[tuple[tuple[str, int], ...]] = (
    ("1s", 1_000_000_000),
    ("5s", 5_000_000_000),
    ("30s", 30_000_000_000),
    ("5m", 300_000_000_000),
)

#: What is measured over each trailing window; ``ret`` is the log return from the window's first
#: price to the close, ``rv`` the sum of squared tick log returns.
TRAILING_MEASURES: Final[tuple[str, ...]] = ("ret", "volume", "signed_volume", "n", "rv")

BAR_DTYPE: Final = np.dtype(
    [
        ("seq", "<i8"),
        ("day", "<i4"),  # trading day, YYYYMMDD
        ("flags", "<u4"),  # BarFlag
        ("session_open_ns", "<i8"),
        ("session_close_ns", "<i8"),
        ("ts_open_ns", "<i8"),
        ("ts_close_ns", "<i8"),
        ("first_tick_seq", "<i8"),
        ("last_tick_seq", "<i8"),
        ("book_seq", "<i8"),
        ("n", "<i8"),  # prints in the bar
        ("buy_n", "<i8"),
        ("sell_n", "<i8"),
        ("up_ticks", "<i8"),
        ("down_ticks", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<f8"),
        ("dollar", "<f8"),
        ("buy_volume", "<f8"),
        ("sell_volume", "<f8"),
        ("vwap", "<f8"),
        ("dt_mean_s", "<f8"),  # inter-arrival mean and variance within the bar
        ("dt_var_s2", "<f8"),
        ("realised_var", "<f8"),  # sum of squared tick log returns within the bar
        ("buy_agent_hhi", "<f8"),  # Herfindahl index of volume by agent, NaN without agents
        ("sell_agent_hhi", "<f8"),
        *((f"{measure}_{suffix}", "<f8") for suffix, _ in TRAILING_WINDOWS for measure in TRAILING_MEASURES),
        ("rlp_volume", "<f8"),  # of prints a retail liquidity provider took
        ("large_volume", "<f8"),  # of large prints: bars/rules.py says which
        ("large_signed_volume", "<f8"),  # of those, buyers' less sellers'
        ("buy_agent_top3_share", "<f8"),  # of volume by known agents, the three largest's; NaN without agents
        ("sell_agent_top3_share", "<f8"),
        ("agent_net_buy_top3", "<f8"),  # bought less sold, of the three agents that added most; NaN without agents
        ("agent_net_sell_top3", "<f8"),  # sold less bought, of the three that shed most
        ("utc_offset_s", "<f8"),  # of the exchange's wall clock at the session's open
    ]
)
