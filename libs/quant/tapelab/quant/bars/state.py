"""The carried state of the bar kernel, as arrays it can use in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tapelab.quant.bars.spec import BAR_KINDS, BarSpec
from tapelab.quant.dtypes import BAR_DTYPE, TRAILING_WINDOWS

#: Prints that go through the kernel at a time; results do not depend on it.
BLOCK: Final = 1024
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
    ]
)

#: An eligible print of the block at work: its row there, and what all specifications need of it.
#: ``bought`` and ``sold`` are what of its volume buyers and sellers began, the volume or zero; ``changed`` lists,
#: over the first rows, the places of the prints whose price differs from the one before.
BLOCK_DTYPE: Final = np.dtype(
    [
        ("row", "<i8"),
        ("volume", "<f8"),
        ("bought", "<f8"),
        ("sold", "<f8"),
        ("square", "<f8"),
        ("side", "<i4"),
        ("changed", "<i4"),
    ]
)

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
    ]
)
_PENDING: Final = (SPEC_DTYPE.names or ())[6:]

#: Rows of ``BarState.ring``: price and the day's running sums up to and including each print.
RING_PRICE, RING_VOLUME, RING_SIGNED, RING_RV = range(4)


class BarState:
    """Arrays of one symbol's builder.

    ``ring_ts`` (capacity,) and ``ring`` (4, capacity) hold the day's recent prints, oldest first, up to
    ``day.ring_end``; index 0 at a day's start is a sentinel without price. ``left`` (specs, windows) points
    at each window's oldest print and is a hint only: any smaller value gives the same bars.
    ``agent_*`` (specs, side, ...) map a pending bar's agents to their volume: dense lists in order of first
    appearance, the slot each occupies, and an open-addressing table of list positions plus one.
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
        self.ring = np.empty((4, 4 * BLOCK))
        self.agent_ids = np.zeros((count, 2, 2 * BLOCK), np.int32)
        self.agent_at = np.zeros((count, 2, 2 * BLOCK), np.int32)
        self.agent_volumes = np.zeros((count, 2, 2 * BLOCK))
        self.agent_slots = np.zeros((count, 2, 4 * BLOCK), np.int32)
        self.block = np.empty(BLOCK, BLOCK_DTYPE)
        self.out: npt.NDArray[np.void] = np.empty((count, 4 * BLOCK), BAR_DTYPE)
        self.out_n = np.zeros(count, np.int64)
        self.forget(BEFORE_ALL)

    def forget(self, floor_ns: int) -> None:
        """Drop the current day and the pending bars; prints before ``floor_ns`` are late from now on."""
        for name in _PENDING:
            self.specs[name] = 0
        for slots in self.agent_slots.reshape(-1, self.agent_slots.shape[2]):
            slots[:] = 0
        self.day["day"] = 0
        for name in ("open_ns", "close_ns", "next_open_ns"):
            self.day[name] = floor_ns
        self.day["clock_ns"] = BEFORE_ALL
        self.day["ring_end"] = 0

    def restart_counts(self) -> None:
        """Number bars from zero again, as a new stream does."""
        for name in ("seq", "bar_day", "after_gap"):
            self.specs[name] = 0
        self.day["last_seq"] = 0
        self.day["book_seq"] = 0

    def begin(self, day: int, open_ns: int, close_ns: int, next_open_ns: int) -> None:
        """Make a session current; its running sums start at zero."""
        self.day["day"] = day
        self.day["open_ns"] = open_ns
        self.day["close_ns"] = close_ns
        self.day["next_open_ns"] = next_open_ns
        self.day["clock_ns"] = BEFORE_ALL
        self.day["ring_end"] = 1
        self.ring_ts[0] = BEFORE_ALL
        self.ring[:, 0] = (np.nan, 0.0, 0.0, 0.0)
        self.left[:] = 1

    def grow_ring(self, room: int | None = None) -> None:
        """Double the ring, or make it at least ``room`` long."""
        old = len(self.ring_ts)
        size = 2 * old if room is None else max(old, room)
        self.ring_ts = np.concatenate([self.ring_ts, np.empty(size - old, np.int64)])
        self.ring = np.concatenate([self.ring, np.empty((4, size - old))], axis=1)

    def grow_agents(self, room: int | None = None) -> None:
        """Double the agent maps, or make them hold ``room`` agents, and hash again."""
        count, sides, old = self.agent_ids.shape
        size = 2 * old
        while room is not None and size < room:
            size *= 2
        ids, volumes = self.agent_ids, self.agent_volumes
        self.agent_ids = np.zeros((count, sides, size), np.int32)
        self.agent_ids[:, :, :old] = ids
        self.agent_volumes = np.zeros((count, sides, size))
        self.agent_volumes[:, :, :old] = volumes
        self.rehash(size)

    def rehash(self, size: int) -> None:
        """Fill the tables of the agent maps from their lists."""
        count, sides, _ = self.agent_ids.shape
        self.agent_at = np.zeros((count, sides, size), np.int32)
        self.agent_slots = np.zeros((count, sides, 2 * size), np.int32)
        mask = 2 * size - 1
        for k in range(count):
            for side, name in enumerate(("buy_agents", "sell_agents")):
                slots = self.agent_slots[k, side]
                for i in range(int(self.specs[name][k])):
                    slot = agent_hash(int(self.agent_ids[k, side, i])) & mask
                    while slots[slot]:
                        slot = (slot + 1) & mask
                    slots[slot] = i + 1
                    self.agent_at[k, side, i] = slot

    def arguments(self) -> tuple[Any, ...]:
        """The arrays in the kernel's order."""
        return (
            self.day,
            self.specs,
            self.left,
            self.ring_ts,
            self.ring,
            self.agent_ids,
            self.agent_at,
            self.agent_volumes,
            self.agent_slots,
            self.block,
            self.out,
            self.out_n,
        )


def agent_hash(agent: int) -> int:
    """Spread agent numbers over a table whose size is a power of two; the kernel computes the same."""
    mixed = ((agent & 0xFFFFFFFF) * 0x9E3779B1) & 0xFFFFFFFF
    return mixed ^ (mixed >> 15)
