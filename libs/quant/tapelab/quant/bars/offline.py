"""Bars of a whole tape at once, by the kernel that runs live."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.records import joined
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.ticks import Ticks


def compute_bars(
    ticks: Ticks,
    spec: BarSpec,
    calendar: SessionCalendar,
    bar_trade_types: Collection[int],
    *,
    first_seq: int = 0,
    tape_ended: bool = True,
) -> npt.NDArray[np.void]:
    """Bars of one symbol's tape, equal bit for bit to those a live builder closes over the same prints.

    Args:
        ticks: the whole tape, in order.
        spec: what closes a bar.
        calendar: the symbol's sessions.
        bar_trade_types: trade types that enter bars.
        first_seq: sequence number of the first print.
        tape_ended: whether the tape's last session is over and closes with its last bar.

    Returns:
        ``BAR_DTYPE``, shape ``(bars,)``; fields are defined at :class:`~tapelab.quant.bars.builder.BarBuilder`.
    """
    builder = BarBuilder([spec], calendar, bar_trade_types)
    (bars,) = builder.update(ticks, first_seq)
    if tape_ended:
        (last,) = builder.end_tape()
        bars = joined([bars, last]) if len(last) else bars
    return bars
