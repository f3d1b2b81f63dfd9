"""The reader's rule: each sequence number once, in order, and no silent hole.

Producers may write a record again after a crash; they never write a different one under the same
number. A reader keeps its high-water mark per symbol, stream and lineage, drops or slices what it has
seen, and stops at a hole that nothing explains.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec

from tapelab.common.codec import Identity


class Verdict(Enum):
    """What to do with a record."""

    TAKE = "take"
    DROP = "drop"  # seen already, or of an older stream
    RESET = "reset"  # take it, but state before it is void: a gap that a dead letter explains
    HALT = "halt"  # an unexplained hole, or the symbol is halted already


class Admission(NamedTuple):
    """Verdict on one record; ``skip`` leading rows of it were seen already."""

    verdict: Verdict
    skip: int = 0
    message: str = ""
    new_stream: bool = False


class _Mark(msgspec.Struct, array_like=True):
    stream: int
    next_seq: int
    dead_seen: int  # dead letters of the symbol when this sequence last advanced


class SequenceState(msgspec.Struct, array_like=True):
    """What a reader remembers; part of its snapshot."""

    marks: dict[str, _Mark] = {}
    dead: dict[str, int] = {}  # dead letters per symbol
    halted: dict[str, str] = {}


class Sequencer:
    """Applies the reader's rule to one input topic of one partition.

    Sequences are told apart by symbol and lineage; within one, a higher stream starts anew at any
    number it likes (its first record defines it) and a lower one is dropped.
    """

    def __init__(self, topic: str, state: SequenceState | None = None) -> None:
        self._topic = topic
        self._state = state if state is not None else SequenceState(marks={}, dead={}, halted={})

    @property
    def state(self) -> SequenceState:
        """The state to put into a snapshot."""
        return self._state

    @property
    def halted(self) -> dict[str, str]:
        """Halted symbols with their messages."""
        return self._state.halted

    def note_dead(self, key: bytes | None) -> None:
        """A record of this key went to the dead-letter topic: the next gap of the symbol is explained."""
        symbol = key.decode(errors="replace") if key else ""
        if symbol:
            self._state.dead[symbol] = self._state.dead.get(symbol, 0) + 1

    def admit(self, who: Identity, first: int, last: int, *, partition: int, offset: int) -> Admission:
        """Judge a record that covers ``first .. last - 1``."""
        state = self._state
        name = f"{who.symbol}\x1f{who.lineage}"
        mark = state.marks.get(name)
        dead = state.dead.get(who.symbol, 0)
        if mark is not None and who.stream < mark.stream:
            return Admission(Verdict.DROP)
        if mark is None or who.stream > mark.stream:
            state.marks[name] = _Mark(who.stream, last, dead)
            state.halted.pop(who.symbol, None)
            return Admission(Verdict.TAKE, new_stream=True)
        if who.symbol in state.halted:
            return Admission(Verdict.HALT, message=state.halted[who.symbol])
        if first > mark.next_seq:
            if dead > mark.dead_seen:
                mark.next_seq, mark.dead_seen = last, dead
                return Admission(Verdict.RESET)
            message = (
                f"{who.symbol} halted at {self._topic}[{partition}]@{offset}: expected seq {mark.next_seq} of stream "
                f"{who.stream}, got {first}; {first - mark.next_seq} records are missing and no dead letter explains "
                "them; find out where they went, then start a new stream"
            )
            state.halted[who.symbol] = message
            return Admission(Verdict.HALT, message=message)
        if last <= mark.next_seq and last > first:
            return Admission(Verdict.DROP)
        skip = mark.next_seq - first
        if last > first:
            mark.next_seq, mark.dead_seen = last, dead
        return Admission(Verdict.TAKE, skip=skip)
