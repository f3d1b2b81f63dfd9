"""What inference carries from one vector to the next."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tapelab.common.runtime.sequence import SequenceState
from tapelab.common.storage.pointers import Mode
from tapelab.quant.backtest.decision import NEVER_NS, DecisionState

_SCHEMA: Final = "inference/1"


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
    """The whole state of one partition."""

    sequence: SequenceState
    positions: dict[str, Position]  # by symbol and role
    numbers: dict[str, Numbering]  # by symbol and signal lineage
    schema: str = _SCHEMA

    @staticmethod
    def empty() -> State:
        """State before the first vector."""
        return State(SequenceState(marks={}, dead={}, halted={}), {}, {})


def encode_state(state: State) -> bytes:
    """The state as bytes: a function of the vectors so far."""
    return msgspec.msgpack.encode(state)


def decode_state(blob: bytes) -> State:
    """The reverse of :func:`encode_state`.

    Raises:
        msgspec.MsgspecError: the bytes are not such a state.
    """
    state = msgspec.msgpack.decode(blob, type=State)
    if state.schema != _SCHEMA:
        raise msgspec.ValidationError(f"schema {state.schema!r}")
    return state


def slot(*parts: Any) -> str:
    """A key made of parts."""
    return "\x1f".join(str(part) for part in parts)
