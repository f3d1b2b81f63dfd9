"""Which lineage of vectors decides: one at a time for each symbol and pair of bars and features.

During a roll-over two releases compute the same pair side by side, and a release that was put in place in the
middle of a day computes the days before once more. Deciding whatever comes would trade twice, or on the past. So
one lineage is *followed*; vectors of the others are read, counted and not decided. The rule is a function of the
log alone:

- The first lineage of a pair is followed.
- A lineage that appeared later is preferred, as it is the newer release's. It takes over where a trading day
  begins, if it has come as far as the one it replaces. It never gives back to an older one there.
- A higher stream is a run that begins anew: whichever lineage brings it is decided from its start.
- A lineage of which nothing comes any more is replaced within the day: by one that has gone ahead of it alone for
  ``TAKEOVER_NS`` of event time.
- A vector that is not later than the last decided one is the past: it is never decided by a change of lineage.

Whoever holds a position across a change closes it first (``stage.py``).
"""

from __future__ import annotations

from typing import Final

import msgspec

from tapelab.common.schemas.features import FeatureVector
from tapelab.quant.backtest.decision import NEVER_NS

#: How long, in event time, another lineage must be ahead alone. Longer than two releases side by side drift apart,
#: short against how long a position may wait for its next vector.
TAKEOVER_NS: Final = 10_000_000_000
#: Of how many others the rank is remembered; the oldest are forgotten.
_RIVALS: Final = 8


class Rival(msgspec.Struct, array_like=True):
    """A lineage that is not followed: its rank, its newest vector, and since when it has been ahead alone."""

    order: int
    stream: int
    ts_ns: int
    since_ns: int = NEVER_NS


class Followed(msgspec.Struct, array_like=True):
    """The lineage of a symbol and pair that decides, its last decided vector, and the other lineages.

    ``order`` ranks lineages by when they appeared; ``appeared`` counts them.
    """

    lineage: str
    order: int
    appeared: int
    stream: int
    day: int
    ts_ns: int
    rivals: dict[str, Rival]

    def takes(self, vector: FeatureVector, *, halted: bool) -> bool:
        """Whether a vector is to be decided; learns from it either way.

        A vector of a halted sequence is decided, to close its position, but is no sign of life.
        """
        begins = (vector.stream, vector.day) > (self.stream, self.day)
        if vector.lineage != self.lineage:
            return not halted and self._rival_takes(vector, begins=begins)
        if halted:
            return True
        if begins and self._gives_way():
            self.rivals[vector.lineage].since_ns = vector.ts_event_ns
            return False
        self._decided(vector)
        return True

    def _rival_takes(self, vector: FeatureVector, *, begins: bool) -> bool:
        rival = self.rivals.get(vector.lineage)
        if rival is None:
            self.appeared += 1
            self._forget()
            rival = self.rivals[vector.lineage] = Rival(self.appeared, vector.stream, vector.ts_event_ns)
        rival.stream, rival.ts_ns = vector.stream, vector.ts_event_ns
        if (vector.stream, vector.ts_event_ns) <= (self.stream, self.ts_ns):
            return False
        if rival.since_ns == NEVER_NS:
            rival.since_ns = vector.ts_event_ns
        preferred = begins and (rival.order > self.order or vector.stream > self.stream)
        if preferred or vector.ts_event_ns - rival.since_ns >= TAKEOVER_NS:
            self._change(vector.lineage)
            self._decided(vector)
            return True
        return False

    def _gives_way(self) -> bool:
        """At a day's or stream's beginning: to the newest lineage that has come as far."""
        level = {
            rival.order: lineage
            for lineage, rival in self.rivals.items()
            if rival.order > self.order and (rival.stream, rival.ts_ns) >= (self.stream, self.ts_ns)
        }
        if not level:
            return False
        self._change(level[max(level)])
        return True

    def _change(self, lineage: str) -> None:
        rival = self.rivals.pop(lineage)
        self.rivals[self.lineage] = Rival(self.order, self.stream, self.ts_ns)
        self.lineage, self.order = lineage, rival.order

    def _decided(self, vector: FeatureVector) -> None:
        self.stream, self.day, self.ts_ns = vector.stream, vector.day, vector.ts_event_ns
        for rival in self.rivals.values():
            rival.since_ns = NEVER_NS

    def _forget(self) -> None:
        if len(self.rivals) >= _RIVALS:
            del self.rivals[min(self.rivals, key=lambda lineage: self.rivals[lineage].order)]


def first_followed(vector: FeatureVector) -> Followed:
    """The first lineage of a symbol and pair."""
    return Followed(vector.lineage, 0, 0, vector.stream, vector.day, vector.ts_event_ns, {})
