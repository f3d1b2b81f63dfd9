"""The reader's rule: each sequence number once, in order, and no silent hole.

Producers may write a record again after a crash; they never write a different one under the same
number. A reader keeps its high-water mark per symbol, stream and lineage, drops or slices what it has
seen, and stops at a hole that nothing explains.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from tapelab.common.codec import Identity

_HALTED_STREAM: Final = re.compile(r"of stream (\d+), got")


class Verdict(Enum):
    """What to do with a record."""

    TAKE = "take"
    DROP = "drop"  # seen already, or of an older stream
    RESET = "reset"  # take it, but state before it is void: a gap that a dead letter explains
    HALT = "halt"  # an unexplained hole, or the sequence is halted already


class Admission(NamedTuple):
    """Verdict on one record; ``skip`` leading rows of it were seen already."""

    verdict: Verdict
    skip: int = 0
    message: str = ""
    new_stream: bool = False


class Mark(msgspec.Struct, array_like=True):
    """How far a sequence has been read.

    ``at`` is the offset of the record that moved it last, ``halted`` why it goes no further.
    """

    stream: int
    next_seq: int
    at: int
    halted: str = ""


class SequenceState(msgspec.Struct, array_like=True):
    """What a reader remembers; part of its snapshot.

    One small mark per symbol and lineage stays for good: without it a late writer of an ended sequence would
    be read again. Dead letters are kept for symbols that have a mark, so garbage keys leave nothing.
    """

    marks: dict[str, Mark]
    dead: dict[str, int]  # offset of the newest dead letter by symbol

    @staticmethod
    def empty() -> SequenceState:
        """State before the first record."""
        return SequenceState({}, {})


class Sequencer:
    """Applies the reader's rule to one input topic of one partition.

    Sequences are told apart by symbol and lineage; within one, a higher stream starts anew at any
    number it likes (its first record defines it) and a lower one is dropped. A halt stops its sequence
    alone, so that a lineage which is being retired cannot stop the one that follows it.

    Verdicts depend on offsets alone, not on how often a record is read: reading the log again from any
    earlier point changes nothing. Records of different symbols may come in any order, those of one symbol
    in the log's.
    """

    def __init__(self, topic: str, state: SequenceState | None = None) -> None:
        self._topic = topic
        self._state = state if state is not None else SequenceState.empty()
        self._symbols = {_symbol(name) for name in self._state.marks}

    @property
    def state(self) -> SequenceState:
        """The state to put into a snapshot."""
        return self._state

    @property
    def halted(self) -> dict[str, str]:
        """Symbols of which a sequence is halted, with the message."""
        return {_symbol(name): mark.halted for name, mark in self._state.marks.items() if mark.halted}

    def note_dead(self, key: bytes | None, offset: int) -> None:
        """A record of this key went to the dead-letter topic: the next gap of the symbol is explained.

        One without a key, or under a key that is no symbol's, explains nothing: whose it was cannot be known, and
        symbols are told of it in no certain order. The gap it leaves halts its sequence for a person to look at.
        """
        symbol = key.decode(errors="replace") if key else ""
        if symbol in self._symbols:
            self._state.dead[symbol] = max(offset, self._state.dead.get(symbol, -1))

    def admit(self, who: Identity, first: int, last: int, *, partition: int, offset: int) -> Admission:
        """Judge a record that covers ``first .. last - 1``."""
        marks = self._state.marks
        name = f"{who.symbol}\x1f{who.lineage}"
        mark = marks.get(name)
        if mark is None or who.stream > mark.stream:
            marks[name] = Mark(who.stream, last, offset)
            self._symbols.add(who.symbol)
            return Admission(Verdict.TAKE, new_stream=True)
        if who.stream < mark.stream:
            return Admission(Verdict.DROP)
        if mark.halted:
            return Admission(Verdict.HALT, message=mark.halted)
        if first > mark.next_seq:
            if self._state.dead.get(who.symbol, -1) > mark.at:
                mark.next_seq, mark.at = last, offset
                return Admission(Verdict.RESET)
            mark.halted = (
                f"{who.symbol} halted at {self._topic}[{partition}]@{offset}: expected seq {mark.next_seq} of stream "
                f"{who.stream}, got {first}; {first - mark.next_seq} records are missing and no dead letter explains "
                "them; find out where they went, then start a new stream"
            )
            return Admission(Verdict.HALT, message=mark.halted)
        if last <= mark.next_seq and last > first:
            return Admission(Verdict.DROP)
        skip = mark.next_seq - first
        if last > first:
            mark.next_seq, mark.at = last, offset
        return Admission(Verdict.TAKE, skip=skip)


def _symbol(name: str) -> str:
    return name.partition("\x1f")[0]


def halted_stream(message: str) -> int:
    """The stream that a halt's message speaks of; marks keep the message alone. -1 where it names none."""
    found = _HALTED_STREAM.search(message)
    return -1 if found is None else int(found[1])
