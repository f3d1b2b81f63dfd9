"""The carried state of the bar kernel, as arrays it can use in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.quant.bars.spec import BAR_KINDS, BarSpec
from tapelab.quant.dtypes import BAR_DTYPE, TRAILING_WINDOWS

#: Prints that go through the kernel at a time; results do not depend on it.
BLOCK: Final = 512
#: Places between the rows of an array that is worked on side by side. Rows a power of two apart share the same few
#: lines of the cache, and a load from one waits for a store to another that only looks the same in its low bits.
APART: Final = 48
#: Event times before every other: the sentinel print a day begins with, and "no day yet".
BEFORE_ALL: Final = -(2**63)

TICK, VOLUME, DOLLAR, TIME = (BAR_KINDS.index(kind) for kind in ("tick", "volume", "dollar", "time"))

#: Trailing windows in ns, ascending.
WINDOWS_NS: Final = np.array([ns for _, ns in TRAILING_WINDOWS], np.int64)
LONGEST_NS: Final = int(WINDOWS_NS[-1])

#: What all specifications share. ``day`` 0 says that no session is current; the three times are then the
#: close of the last session that ended, before which a print is late.
DAY_DTYPE: Final = np.dtype(
    [
        ("day", "<i8"),
        ("open_ns", "<i8"),
        ("close_ns", "<i8"),
        ("next_open_ns", "<i8"),
        ("clock_ns", "<i8"),  # running maximum of the day's eligible event times
        ("ring_end", "<i8"),
        ("last_seq", "<i8"),
        ("book_seq", "<i8"),
        ("utc_offset_s", "<f8"),
        ("prints", "<i8"),  # eligible ones of the day
        ("agents", "<i8"),  # known ones met today, numbered from 1 as they come
    ]
)

#: Rows of ``BarState.figures``, what all specifications need of the block's prints: volumes, the same with the
#: aggressor's sign (zero where unknown), squared log returns.
VOLUMES, SIGNED, SQUARE = range(3)
#: Rows of ``BarState.notes``: a print's row in the block, its aggressor, what is rare about it, its agents' numbers
#: of the day (0 unknown); ``CHANGED`` and ``MARKED`` list, over the first columns, the places of the prints whose
#: price differs from the one before and of those with marks.
ROW, SIDE, MARKS, BUYER, SELLER, CHANGED, MARKED = range(7)
RLP_MARK, LARGE_MARK = 1, 2

#: Of a print's volume, what buyers and sellers began: a factor by the aggressor as an unsigned byte. It costs less
#: than a branch nobody can guess, and changes no bit of a sum that began at zero.
SIDE_SHARES: Final = np.array([(0 < side < 128, side >= 128) for side in range(256)], np.float64)

#: One specification: what it is, what it has counted so far, and its pending bar (fields as in ``BAR_DTYPE``).
SPEC_DTYPE: Final = np.dtype(
    [
        ("kind", "<i8"),
        ("threshold", "<f8"),
        ("interval_ns", "<i8"),
        ("seq", "<i8"),
        ("bar_day", "<i8"),  # day of the last bar, 0 before the first
        ("after_gap", "<i8"),
        ("n", "<i8"),
        ("buy_n", "<i8"),
        ("sell_n", "<i8"),
        ("up_ticks", "<i8"),
        ("down_ticks", "<i8"),
        ("first_seq", "<i8"),
        ("ts_open_ns", "<i8"),
        ("bucket_end_ns", "<i8"),
        ("buy_agents", "<i8"),
        ("sell_agents", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("volume", "<f8"),
        ("dollar", "<f8"),
        ("buy_volume", "<f8"),
        ("sell_volume", "<f8"),
        ("dt_square_ns2", "<f8"),
        ("realised_var", "<f8"),
        ("rlp_volume", "<f8"),
        ("large_volume", "<f8"),
        ("large_signed_volume", "<f8"),
    ]
)
_PENDING: Final = (SPEC_DTYPE.names or ())[6:]

#: Rows of ``BarState.ring``: price, and the day's running sums up to and including each print with what their
#: rounding left (``running.py``).
RING_PRICE, RING_VOLUME, RING_SIGNED, RING_RV, RING_VOLUME_LOW, RING_SIGNED_LOW, RING_RV_LOW = range(7)
RING_ROWS: Final = 7


class BarState:
    """Arrays of one symbol's builder.

    ``ring_ts`` (capacity,) and ``ring`` (7, capacity) hold the day's recent prints, oldest first, up to
    ``day.ring_end``; index 0 at a day's start is a sentinel without price. ``left`` (specs, windows) points
    at each window's oldest print and is a hint only: any smaller value gives the same bars.
    ``agent_ids`` (agents,) holds the agents of the day by number and ``agent_slots`` an open-addressing table of
    agent and number, ``agent << 32 | number``, 0 where free; both serve all specifications. A pending bar's volumes
    by number are in ``agent_volumes`` (specs, side, agents), 0 where an agent has none and NaN for the unknown ones;
    ``agent_lists`` (specs, side, agents) names those that have, in order of their first.
    ``figures`` (3, BLOCK) and ``notes`` (7, BLOCK) hold the prints of the block at work.
    ``out`` (specs, rows) takes closed bars, ``out_n`` counts them.
    """

    def __init__(self, specs: Sequence[BarSpec]) -> None:
        count = len(specs)
        self.day = np.zeros(1, DAY_DTYPE)
        self.specs = np.zeros(count, SPEC_DTYPE)
        for row, spec in zip(self.specs, specs, strict=True):
            row["kind"] = BAR_KINDS.index(spec.kind)
            row["threshold"] = spec.threshold
            row["interval_ns"] = spec.interval_ns
        self.left = np.ones((count, len(WINDOWS_NS)), np.int64)
        self.ring_ts = np.empty(4 * BLOCK, np.int64)
        self.ring = np.empty((RING_ROWS, 4 * BLOCK + APART))
        self.agent_ids = np.zeros(4 * BLOCK, np.int32)
        self.agent_slots = np.zeros(8 * BLOCK, np.int64)
        self.agent_volumes = np.zeros((count, 2, 4 * BLOCK + APART))
        self.agent_lists = np.zeros((count, 2, 4 * BLOCK + APART), np.uint32)
        self.figures = np.empty((3, BLOCK + APART))
        self.notes = np.empty((7, BLOCK + APART), np.int32)
        self.out: npt.NDArray[np.void] = np.empty((count, 4 * BLOCK), BAR_DTYPE)
        self.out_n = np.zeros(count, np.int64)
        self.forget(BEFORE_ALL)

    def forget(self, floor_ns: int) -> None:
        """Drop the current day and the pending bars; prints before ``floor_ns`` are late from now on."""
        for name in _PENDING:
            self.specs[name] = 0
        self.agent_volumes[:] = 0.0
        self.forget_agents()
        self.day["day"] = 0
        for name in ("open_ns", "close_ns", "next_open_ns"):
            self.day[name] = floor_ns
        self.day["clock_ns"] = BEFORE_ALL
        self.day["ring_end"] = 0

    def forget_agents(self) -> None:
        """Number the agents afresh; no bar may be pending."""
        self.agent_slots[:] = 0
        self.agent_volumes[:, :, 0] = np.nan
        self.day["agents"] = 0

    def restart_counts(self) -> None:
        """Number bars from zero again, as a new stream does."""
        for name in ("seq", "bar_day", "after_gap"):
            self.specs[name] = 0
        self.day["last_seq"] = 0
        self.day["book_seq"] = 0

    def begin(self, day: int, open_ns: int, close_ns: int, next_open_ns: int, utc_offset_s: int) -> None:
        """Make a session current; its running sums start at zero."""
        self.day["day"] = day
        self.day["open_ns"] = open_ns
        self.day["close_ns"] = close_ns
        self.day["next_open_ns"] = next_open_ns
        self.day["utc_offset_s"] = utc_offset_s
        self.day["clock_ns"] = BEFORE_ALL
        self.day["ring_end"] = 1
        self.day["prints"] = 0
        self.forget_agents()
        self.ring_ts[0] = BEFORE_ALL
        self.ring[:, 0] = 0.0
        self.ring[RING_PRICE, 0] = np.nan
        self.left[:] = 1

    def grow_ring(self, room: int | None = None) -> None:
        """Double the ring, or make it at least ``room`` long."""
        old = len(self.ring_ts)
        size = 2 * old if room is None else max(old, room)
        ring_ts, ring = np.empty(size, np.int64), np.empty((RING_ROWS, size + APART))
        # What is not written to now costs no memory until it is.
        ring_ts[:old] = self.ring_ts
        ring[:, :old] = self.ring[:, :old]
        self.ring_ts, self.ring = ring_ts, ring

    def grow_agents(self) -> None:
        """Double the room for agents and hash them again."""
        count, sides, _ = self.agent_volumes.shape
        size = len(self.agent_ids)
        self.agent_ids = np.concatenate([self.agent_ids, np.zeros(size, np.int32)])
        self.agent_volumes = np.concatenate([self.agent_volumes, np.zeros((count, sides, size))], axis=2)
        self.agent_lists = np.concatenate([self.agent_lists, np.zeros((count, sides, size), np.uint32)], axis=2)
        self.agent_slots = np.zeros(4 * size, np.int64)
        for number in range(1, int(self.day["agents"][0]) + 1):
            agent = int(self.agent_ids[number])
            self.agent_slots[self._slot(agent)] = agent << 32 | number

    def number_of(self, agent: int) -> int:
        """The number of a known agent, which gets the next where it has none yet; the kernel does the same."""
        slot = self._slot(agent)
        if not self.agent_slots[slot]:
            number = int(self.day["agents"][0]) + 1
            if number + 1 >= len(self.agent_ids):
                self.grow_agents()
                slot = self._slot(agent)
            self.day["agents"] = number
            self.agent_ids[number] = agent
            self.agent_slots[slot] = agent << 32 | number
        return int(self.agent_slots[slot]) & 0xFFFFFFFF

    def _slot(self, agent: int) -> int:
        """Where the table holds an agent, or the free place for it."""
        mask = len(self.agent_slots) - 1
        slot = agent_hash(agent) & mask
        while self.agent_slots[slot] and int(self.agent_slots[slot]) >> 32 != agent:
            slot = (slot + 1) & mask
        return slot

    def arguments(self) -> tuple[Any, ...]:
        """The arrays in the kernel's order."""
        return (
            self.day,
            self.specs,
            self.left,
            self.ring_ts,
            self.ring,
            self.agent_ids,
            self.agent_slots,
            self.agent_volumes,
            self.agent_lists,
            self.figures,
            self.notes,
            self.out,
            self.out_n,
        )


def agent_hash(agent: int) -> int:
    """Spread agents over a table whose size is a power of two; the kernel computes the same.

    Small numbers, as exchanges give them, stay side by side and so share lines of the cache.
    """
    return ((agent & 0x3FF) ^ ((agent & 0xFFFFFFFF) >> 10) * 0x9E3779B1) & 0xFFFFFFFF
