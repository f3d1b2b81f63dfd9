"""The decision rule, clause by clause."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tapelab.quant.backtest.decision import NEVER_NS, DecisionParams, DecisionState, Reason, step

PARAMS = DecisionParams(threshold=0.001, cooldown_ns=100, max_hold_ns=1_000, flatten_ns=500)
CLOSE_NS = 1_000_000
FLAT = DecisionState()


def after(state: DecisionState, **changes: Any) -> tuple[int, Reason, DecisionState]:
    arguments: dict[str, Any] = {
        "ts_ns": 10_000,
        "session_close_ns": CLOSE_NS,
        "expected_return": 0.0,
        "cost": 0.002,
        "usable": True,
        "session_end": False,
        "halted": False,
        "params": PARAMS,
    }
    new, reason = step(state, **(arguments | changes))
    return new.side, reason, new


def held(side: int, since_ns: int = 9_500, changed_ns: int = 9_000) -> DecisionState:
    return DecisionState(side, since_ns, changed_ns)


def test_an_edge_beyond_cost_and_threshold_opens_a_position_to_its_side() -> None:
    assert after(FLAT, expected_return=0.0031) == (1, Reason.EDGE, DecisionState(1, 10_000, 10_000))
    assert after(FLAT, expected_return=-0.0031) == (-1, Reason.EDGE, DecisionState(-1, 10_000, 10_000))


def test_an_edge_that_only_equals_cost_and_threshold_does_nothing() -> None:
    edge = 0.002 + 0.001
    assert after(FLAT, expected_return=edge) == (0, Reason.NONE, FLAT)
    assert after(FLAT, expected_return=-edge) == (0, Reason.NONE, FLAT)


def test_the_opposite_edge_flips() -> None:
    assert after(held(1), expected_return=-0.01) == (-1, Reason.FLIP, DecisionState(-1, 10_000, 10_000))
    assert after(held(-1), expected_return=0.01) == (1, Reason.FLIP, DecisionState(1, 10_000, 10_000))


def test_the_same_edge_renews_the_hold_without_a_change() -> None:
    assert after(held(1), expected_return=0.01) == (1, Reason.EDGE, DecisionState(1, 10_000, 9_000))


def test_within_the_cooldown_nothing_opens_flips_renews_or_times_out() -> None:
    recent = held(1, since_ns=0, changed_ns=9_901)
    assert after(recent, expected_return=-0.01) == (1, Reason.NONE, recent)
    assert after(recent, expected_return=0.01) == (1, Reason.NONE, recent)
    assert after(recent) == (1, Reason.NONE, recent)
    assert after(held(1, changed_ns=9_900), expected_return=-0.01)[0] == -1


def test_a_position_lives_for_the_maximum_hold_since_its_last_renewal() -> None:
    assert after(held(1, since_ns=9_000))[:2] == (1, Reason.NONE)
    assert after(held(1, since_ns=8_999)) == (0, Reason.EXIT, DecisionState(0, 10_000, 10_000))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"halted": True, "session_end": True, "usable": False}, Reason.HALT),
        ({"session_end": True, "usable": False}, Reason.SESSION_END),
        ({"ts_ns": CLOSE_NS - 500, "usable": False}, Reason.SESSION_END),
        ({"usable": False}, Reason.GAP),
    ],
)
def test_a_forced_exit_ignores_edge_and_cooldown(changes: dict[str, Any], reason: Reason) -> None:
    side, why, state = after(held(1, changed_ns=9_999), expected_return=0.5, **changes)
    assert (side, why) == (0, reason)
    assert state.changed_ns == changes.get("ts_ns", 10_000)


def test_the_last_moment_before_flattening_still_trades() -> None:
    assert after(FLAT, ts_ns=CLOSE_NS - 501, expected_return=0.01)[0] == 1


def test_nothing_is_decided_on_a_missing_number() -> None:
    for changes in ({"expected_return": math.nan}, {"cost": math.nan, "expected_return": 0.5}):
        assert after(FLAT, **changes) == (0, Reason.NONE, FLAT)
        assert after(held(-1), **changes)[0] == -1


def test_a_return_of_zero_has_no_side_even_below_a_negative_threshold() -> None:
    relaxed = PARAMS._replace(threshold=-0.01)
    assert after(FLAT, params=relaxed)[0] == 0
    assert after(FLAT, params=relaxed, expected_return=1e-9)[0] == 1
    assert after(FLAT, params=relaxed, expected_return=-1e-9)[0] == -1


def test_never_is_before_every_event_without_overflow() -> None:
    latest = 4_000_000_000_000_000_000
    assert latest - NEVER_NS < 2**63
    assert after(FLAT, ts_ns=latest, session_close_ns=latest + 1_000, expected_return=0.01)[0] == 1
