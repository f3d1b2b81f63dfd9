"""The trading decision, defined once: inference steps it live, the backtest loops over it.

Only ``+ - * /`` and comparisons, so that every machine decides alike. The rule, first match wins:

1. halted: flat (``HALT``);
2. the session's end, or less than ``flatten_ns`` before it: flat (``SESSION_END``);
3. no usable score (not warm, after a gap, no model): flat (``GAP``);
4. less than ``cooldown_ns`` since the last change: keep;
5. ``|expected_return| > cost + threshold``: to that side; ``EDGE`` from flat, ``FLIP`` from the opposite
   side, and ``EDGE`` again on the same side, which renews the hold;
6. held longer than ``max_hold_ns`` since the last renewal: flat (``EXIT``);
7. else keep (``NONE``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from tapelab.quant._numba import njit


class Reason(IntEnum):
    """Why the target position is what it is; ``MODEL_CHANGE`` and ``ROLL_OVER`` are given by the caller alone."""

    NONE = 0
    EDGE = 1
    FLIP = 2
    EXIT = 3
    SESSION_END = 4
    HALT = 5
    GAP = 6
    MODEL_CHANGE = 7
    ROLL_OVER = 8


#: A time before every event; its distance to any event time still fits 64 bits.
NEVER_NS: Final = -(1 << 62)

_NONE: Final = int(Reason.NONE)
_EDGE: Final = int(Reason.EDGE)
_FLIP: Final = int(Reason.FLIP)
_EXIT: Final = int(Reason.EXIT)
_SESSION_END: Final = int(Reason.SESSION_END)
_HALT: Final = int(Reason.HALT)
_GAP: Final = int(Reason.GAP)


class DecisionParams(NamedTuple):
    """What the rule is set to.

    Args:
        threshold: what the expected return must exceed beyond the round-trip cost, fraction of the price.
        cooldown_ns: no change sooner than this after the last one; forced exits excepted.
        max_hold_ns: how long a position lives without a renewal.
        flatten_ns: how long before the session's close to be flat.
    """

    threshold: float
    cooldown_ns: int
    max_hold_ns: int
    flatten_ns: int


class DecisionState(NamedTuple):
    """What the rule carries from one vector to the next, per symbol.

    Args:
        side: target position, -1, 0 or +1.
        since_ns: event time of the position's last renewal.
        changed_ns: event time of the last change of ``side``.
    """

    side: int = 0
    since_ns: int = NEVER_NS
    changed_ns: int = NEVER_NS


@njit
def decide(
    side: int,
    since_ns: int,
    changed_ns: int,
    ts_ns: int,
    session_close_ns: int,
    expected_return: float,
    cost: float,
    usable: bool,
    session_end: bool,
    halted: bool,
    threshold: float,
    cooldown_ns: int,
    max_hold_ns: int,
    flatten_ns: int,
) -> tuple[int, int]:
    """Target position and the reason for it (module docstring), for one vector.

    Expected return, cost (round trip) and threshold are fractions of the price; times are event time in ns.
    The position changes where the returned side differs from ``side``; the same side with ``EDGE`` renews
    the hold. A NaN expected return or cost never opens or renews a position.

    Returns:
        ``(new_side, reason)``; ``reason`` is a :class:`Reason`.
    """
    if halted:
        return 0, _HALT
    if session_end or ts_ns >= session_close_ns - flatten_ns:
        return 0, _SESSION_END
    if not usable:
        return 0, _GAP
    if ts_ns - changed_ns < cooldown_ns:
        return side, _NONE
    edge = cost + threshold
    # A threshold below minus the cost lets everything pass, but a return of zero has no side.
    wanted = 0
    if expected_return > edge and expected_return > 0.0:
        wanted = 1
    elif -expected_return > edge and expected_return < 0.0:
        wanted = -1
    if wanted != 0:
        return wanted, _FLIP if side == -wanted else _EDGE
    if side != 0 and ts_ns - since_ns > max_hold_ns:
        return 0, _EXIT
    return side, _NONE


def step(
    state: DecisionState,
    *,
    ts_ns: int,
    session_close_ns: int,
    expected_return: float,
    cost: float,
    usable: bool,
    session_end: bool,
    halted: bool,
    params: DecisionParams,
) -> tuple[DecisionState, Reason]:
    """Apply :func:`decide` once and carry the state on.

    Returns:
        the new state and the reason; the target changed where ``new.side != state.side``.
    """
    # One set of argument types, so that numba compiles one version whatever the caller holds.
    side, reason = decide(
        int(state.side),
        int(state.since_ns),
        int(state.changed_ns),
        int(ts_ns),
        int(session_close_ns),
        float(expected_return),
        float(cost),
        bool(usable),
        bool(session_end),
        bool(halted),
        float(params.threshold),
        int(params.cooldown_ns),
        int(params.max_hold_ns),
        int(params.flatten_ns),
    )
    if side != state.side:
        return DecisionState(side, ts_ns, ts_ns), Reason(reason)
    if reason == Reason.EDGE:
        return state._replace(since_ns=ts_ns), Reason.EDGE
    return state, Reason(reason)
