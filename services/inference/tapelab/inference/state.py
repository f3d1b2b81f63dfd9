"""What inference carries from one vector to the next."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tapelab.common.errors import RecoveryError
from tapelab.common.runtime.sequence import Mark, SequenceState
from tapelab.common.storage.pointers import Mode
from tapelab.inference.lineages import Followed
from tapelab.quant.backtest.decision import NEVER_NS, DecisionState

#: Of the state's layout, apart from the release: a new release reads every older one, so no position is forgotten.
SCHEMA: Final = "inference/2"
_FIRST_SCHEMA: Final = "inference/1"


class Position(msgspec.Struct, array_like=True):
    """Target position of one symbol under one role, and whose decision it is.

    ``stream`` and ``lineage`` are those of the vectors it was decided on; ``mode``, ``model_id`` and
    ``digest`` those of the model that decided last.
    """

    stream: int
    lineage: str
    mode: Mode
    model_id: str
    digest: str
    side: int = 0
    since_ns: int = NEVER_NS
    changed_ns: int = NEVER_NS

    @property
    def rule(self) -> DecisionState:
        """The state of the decision rule."""
        return DecisionState(self.side, self.since_ns, self.changed_ns)

    def take(self, rule: DecisionState) -> None:
        """Carry the rule's state on."""
        self.side, self.since_ns, self.changed_ns = rule


class Numbering(msgspec.Struct, array_like=True):
    """The next sequence number of a symbol's signals in a stream."""

    stream: int
    next_seq: int


class State(msgspec.Struct, array_like=True):
    """The whole state of one partition. A new field comes last and has a default, with a new schema."""

    sequence: SequenceState
    positions: dict[str, Position]  # by symbol and role
    numbers: dict[str, Numbering]  # by symbol and signal lineage
    schema: str
    followed: dict[str, Followed]  # by symbol, bar specification and feature set

    @staticmethod
    def empty() -> State:
        """State before the first vector."""
        return State(SequenceState.empty(), {}, {}, SCHEMA, {})


class _FirstSequence(msgspec.Struct, array_like=True):
    marks: dict[str, tuple[int, int, int]]  # stream, next_seq, dead letters of the symbol when it last advanced
    dead: dict[str, int]  # dead letters by symbol
    halted: dict[str, str]


class _FirstState(msgspec.Struct, array_like=True):
    """The layout before lineages were followed."""

    sequence: _FirstSequence
    positions: dict[str, Position]
    numbers: dict[str, Numbering]
    schema: str


def encode_state(state: State) -> bytes:
    """The state as bytes: a function of the vectors so far."""
    return msgspec.msgpack.encode(state)


def decode_state(blob: bytes) -> State:
    """The reverse of :func:`encode_state`, for every layout there has been.

    Raises:
        RecoveryError: the bytes are not such a state, or a newer release's.
    """
    try:
        fields = msgspec.msgpack.decode(blob)
        schema = fields[3] if isinstance(fields, list) and len(fields) > 3 else "none"
        if schema == SCHEMA:
            return msgspec.convert(fields, State)
        if schema == _FIRST_SCHEMA:
            return _of_first(msgspec.convert(fields, _FirstState))
    except msgspec.MsgspecError as error:
        raise _unreadable(str(error)) from error
    raise _unreadable(f"schema {schema!r}")


def _of_first(state: _FirstState) -> State:
    """Positions, cooldowns and numbers carry on; whichever lineage comes next is the one that is followed."""
    old = state.sequence
    marks: dict[str, Mark] = {}
    for name, (stream, next_seq, dead_seen) in state.sequence.marks.items():
        symbol = name.partition("\x1f")[0]
        # Offsets were not kept: a dead letter that still waits for its hole lies after the mark, others before.
        waits = old.dead.get(symbol, 0) > dead_seen
        marks[name] = Mark(stream, next_seq, -1 if waits else 0, old.halted.get(symbol, ""))
    return State(SequenceState(marks, dict.fromkeys(old.dead, 0)), state.positions, state.numbers, SCHEMA, {})


def _unreadable(actual: str) -> RecoveryError:
    return RecoveryError(
        "the state of inference cannot be read",
        expected=f"a state of layout {SCHEMA} or older",
        actual=actual,
        remedy="run the release that wrote it, or start under a new TAPELAB_NAMESPACE",
    )


def slot(*parts: Any) -> str:
    """A key made of parts."""
    return "\x1f".join(str(part) for part in parts)
