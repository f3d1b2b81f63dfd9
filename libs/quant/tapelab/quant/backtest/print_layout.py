"""What goes into the backtest print by print and what it carries: rows of bars, settings, messages, orders, counts."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.orders import OrderPolicy

#: What is known of a bar, as ``print_engine.run_on_prints`` takes it; ``last_print`` is a row of the prints.
BAR: Final = np.dtype(
    [
        ("ts_ns", "<i8"),
        ("price", "<f8"),
        ("last_print", "<i8"),
        ("session_close_ns", "<i8"),
        ("expected_return", "<f8"),
        ("cost_fraction", "<f8"),
        ("spread", "<f8"),  # price units
        ("volatility", "<f8"),
        ("volume", "<f8"),
        ("latency_ns", "<i8"),
        ("ahead", "<f8"),
        ("session_end", "?"),
        ("usable", "?"),
    ]
)

#: What a run is set to, under the names of its parts.
SETTINGS: Final = np.dtype(
    [
        *((name, "<f8" if name == "threshold" else "<i8") for name in DecisionParams._fields),
        *((name, "<f8") for name in CostModel._fields),
        *((name, "?" if name == "round_to_tick" else "<f8") for name in Frictions._fields),
        *((name, "<i8" if name == "patience_ns" else "?") for name in OrderPolicy._fields),
        ("lots", "<f8"),  # of a full position
        ("days_per_year", "<f8"),
    ]
)

#: What is written per bar.
ROW: Final = np.dtype(
    [
        ("side", "i1"),
        ("reason", "i1"),
        ("gross", "<f8"),
        ("cost", "<f8"),
        ("net_return", "<f8"),
        ("equity", "<f8"),
    ]
)


class Run(NamedTuple):
    """What does not change during a run: ``BAR`` rows, ``PRINT_DTYPE`` rows, and a ``SETTINGS``."""

    bars: Any
    prints: Any
    settings: Any


#: A message on its way.
MESSAGE: Final = np.dtype(
    [
        ("bar", "<i8"),
        ("reason", "<i8"),
        ("arrival_ns", "<i8"),
        ("start", "<i8"),  # first print it can meet
        ("before", "<i8"),  # last print that an older order still meets
        ("last", "<i8"),  # the session's last print
        ("position", "<f8"),  # wanted, lots
        ("limit", "?"),  # by a passive order
    ]
)

#: The order that rests.
RESTING: Final = np.dtype(
    [
        ("live", "?"),
        ("number", "<i8"),
        ("bar", "<i8"),
        ("reason", "<i8"),
        ("arrival_ns", "<i8"),
        ("expires_ns", "<i8"),
        ("row", "<i8"),  # next print to meet
        ("last", "<i8"),
        ("direction", "<i8"),
        ("position", "<f8"),  # once it is filled, lots
        ("limit", "<f8"),
        ("ahead", "<f8"),
        ("joined_behind", "<f8"),  # what was ahead at first
    ]
)

#: Counts besides ``figures.Figure``; lots and time are of passive orders and their fills.
COUNTS: Final = np.dtype(
    [
        ("fills", "<i8"),
        ("orders", "<i8"),
        ("passive_orders", "<i8"),
        ("passive_lots", "<f8"),
        ("maker_lots", "<f8"),
        ("taker_lots", "<f8"),
        ("waited_lot_s", "<f8"),
    ]
)
