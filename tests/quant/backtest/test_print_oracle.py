"""Passive fills against hftbacktest 2.4.4, whose figures stand here as numbers.

The tape has 150 prints; the book shown to hftbacktest is the one that our quotes are estimated from (a buyer's print is
the ask, a seller's the bid, one tick apart), with six lots on every level at all times. Every sixth print is a
decision: orders are sent at every other one, alternately to buy and to sell at the best price of their side, and
cancelled at the next. Orders take 3 ms; hftbacktest ran with ``constant_order_latency``, post-only orders (GTX) and
``risk_adverse_queue_model``, in which prints alone move the queue, as here.

Its two exchanges say different things. ``no_partial_fill_exchange`` fills a whole order at the first lot that
reaches it: the time is compared, the size only for orders of one lot. ``partial_fill_exchange`` fills in parts, but
its account is told of some parts only: those are compared. Over 22 such tapes, three pairs of size and queue, and
1,162 orders the same holds without exception: every first fill (or none) at the same print, and all 498 parts that
its account was told of as large as ours.

They differ in one thing that this tape leaves out: where a buyer's print is at the price of our own resting bid,
hftbacktest sees the ask arrive there and fills; here nothing happens, because the side of a print may be a guess.
"""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.quant.backtest.costs import CostModel
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.orders import OrderPolicy
from tapelab.quant.backtest.print_engine import run_on_prints
from tapelab.quant.backtest.prints import prints_of

TICK = 5.0
MS = 1_000_000

# fmt: off
WAITS_10MS = [
    38, 20, 30, 23, 7, 20, 37, 38, 38, 24, 13, 23, 26, 12, 38, 22, 14, 19, 5, 24, 14, 37, 12, 10, 24, 13, 14,
    16, 27, 11, 36, 14, 31, 37, 28, 15, 27, 31, 30, 2, 4, 12, 14, 28, 4, 18, 32, 35, 3, 17, 12, 25, 33, 23, 23,
    24, 12, 26, 7, 20, 36, 8, 4, 3, 2, 10, 11, 4, 33, 5, 12, 11, 22, 24, 17, 14, 26, 31, 19, 38, 30, 13, 38, 10,
    27, 27, 12, 23, 14, 31, 12, 25, 20, 11, 35, 36, 20, 23, 11, 29, 33, 27, 18, 31, 14, 30, 7, 17, 25, 2, 30,
    19, 20, 35, 13, 6, 6, 31, 15, 26, 3, 28, 35, 9, 35, 3, 15, 11, 12, 25, 30, 16, 10, 10, 15, 16, 39, 29, 18,
    10, 1, 22, 1, 16, 10, 39, 39, 34, 20, 29,
]
PRICE_TICKS = [
    1000, 1000, 1000, 1001, 1001, 1000, 1001, 998, 998, 998, 997, 998, 997, 997, 996, 997, 997, 996, 997, 996,
    999, 999, 998, 998, 999, 997, 999, 996, 996, 996, 997, 997, 996, 997, 997, 996, 997, 997, 997, 994, 994,
    996, 995, 996, 995, 994, 994, 997, 999, 998, 999, 998, 1001, 998, 998, 998, 1001, 1002, 1002, 1003, 1002,
    1003, 1000, 1003, 1002, 1003, 1003, 1004, 1004, 1004, 1005, 1003, 1002, 1004, 1003, 1004, 1003, 1003, 1003,
    1005, 1002, 1002, 1002, 1004, 1003, 1003, 1003, 1003, 1004, 1002, 1002, 1002, 1003, 1002, 1005, 1004, 1005,
    1005, 1005, 1005, 1004, 1004, 1004, 1007, 1007, 1007, 1007, 1008, 1006, 1009, 1006, 1006, 1006, 1007, 1008,
    1006, 1008, 1007, 1009, 1007, 1007, 1007, 1005, 1007, 1008, 1005, 1008, 1007, 1008, 1007, 1007, 1009, 1009,
    1006, 1007, 1005, 1005, 1004, 1004, 1004, 1007, 1006, 1007, 1005, 1003, 1004, 1003, 1003, 1004, 1003,
]
#: Above zero where a buyer crossed.
SIGNED_LOTS = [
    -2, -2, -2, 7, 6, -5, 2, -8, -6, -8, -7, 3, -2, -2, -6, 1, 4, -5, 5, -1, 2, 4, -5, -3, 8, -3, 4, -7, -6, -7,
    4, 6, -7, 4, 8, -5, 8, 5, 5, -3, -5, 7, -1, 1, -4, -1, -4, 1, 7, -8, 1, -3, 3, -1, -8, -5, 1, 6, 6, 2, -8,
    8, -7, 2, -2, 4, 3, 5, 4, 6, 5, -4, -4, 2, -6, 4, -3, -4, -8, 6, -4, -8, -8, 8, -1, -8, -2, -4, 4, -2, -7,
    -5, 8, -3, 1, -4, 6, 5, 6, 6, -7, -5, -7, 3, 6, 8, 4, 3, -2, 8, -6, -2, -7, 2, 8, -7, 6, -3, 5, -1, -5, -4,
    -5, 8, 4, -1, 3, -3, 1, -5, -1, 6, 1, -3, 8, -7, -6, -6, -2, -8, 3, -8, 3, -4, -4, 1, -4, -2, 7, -6,
]
# fmt: on

#: What hftbacktest 2.4.4 filled: order, ms, and side of the first fill.
FIRST_FILLS = [
    (0, 2130, 1),
    (1, 4850, -1),
    (2, 7300, 1),
    (3, 10470, -1),
    (5, 13500, -1),
    (6, 16320, 1),
    (7, 18840, -1),
    (9, 24280, -1),
    (10, 26300, 1),
]
#: Orders of four lots with partial fills: order, ms, and lots of the part that the account was told of.
LAST_PARTS = [
    (0, 2130, 4),
    (1, 4850, -4),
    (2, 8100, 3),
    (3, 10470, -4),
    (5, 13500, -4),
    (6, 16320, 4),
    (7, 19300, -2),
    (9, 24280, -4),
]


def passive_fills(lots: float) -> list[tuple[int, int, int]]:
    """Order, ms and signed lots of every passive fill."""
    ts = np.cumsum(WAITS_10MS) * 10 * MS
    price, volume, side = TICK * np.array(PRICE_TICKS), np.abs(SIGNED_LOTS), np.sign(SIGNED_LOTS)
    rows = np.arange(6, 144, 6)
    number = np.arange(len(rows)) // 2
    enter = np.arange(len(rows)) % 2 == 0
    result = run_on_prints(
        prints_of(ts, price, volume, side),
        rows,
        ts[rows],
        price[rows],
        np.ones(len(rows)),
        np.full(len(rows), 2**60),
        rows == rows[-1],
        enter,  # a score that does not count cancels, and goes flat at the market
        np.where(number % 2 == 0, 1.0, -1.0),
        DecisionParams(0.0, 0, 2**60, 0),
        CostModel(0.0, 0.0, 1.0, 0.0, TICK, 1.0),
        lots,
        policy=OrderPolicy(limit=True),
        latency_ns=3 * MS,
        ahead=6.0,
    )
    found = result.fills[result.fills["maker"] == 1]
    return [
        (int(number[fill["bar"]]), int(fill["filled_ts_ns"]) // MS, int(fill["side"] * fill["lots"])) for fill in found
    ]


@pytest.mark.parametrize("lots", [1, 4])
def test_every_order_is_reached_at_the_print_at_which_hftbacktest_reaches_it(lots: int) -> None:
    fills = passive_fills(lots)
    first = {number: (number, ms, int(np.sign(size))) for number, ms, size in reversed(fills)}
    assert sorted(first.values()) == FIRST_FILLS
    if lots == 1:
        assert fills == FIRST_FILLS


def test_parts_that_hftbacktest_reports_are_as_large_as_ours() -> None:
    fills = passive_fills(4)
    for number, ms, size in LAST_PARTS:
        assert [fill for fill in fills if fill[0] == number][-1] == (number, ms, size)
    assert len(fills) > len(FIRST_FILLS)  # some orders fill in parts
