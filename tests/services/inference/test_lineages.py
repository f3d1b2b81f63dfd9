"""One lineage decides at a time: roll-overs at a day's start, takeovers within a day, and never the past twice."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.common.codec import encode
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.schemas.signals import Signal
from tapelab.inference.lineages import TAKEOVER_NS
from tapelab.inference.stage import InferenceStage
from tests.services.inference.vectors import SECOND, UP, bound, context, records, run, shown, signals, vector

OLD, NEW = "0" * 16, "1" * 16
DAY_S = 86_400
CONTEXT = context(bound(decision={"max_hold_ns": 10**18}))


def at(lineage: str, seq: int, at_s: float, score: float = UP, *, day: int = 0, **changes: object) -> FeatureVector:
    """A vector so many seconds into a day."""
    fields = {"lineage": lineage, "at_s": day * DAY_S + at_s, "day": 20251119 + day}
    return vector(seq, score, **{**fields, "session_close_ns": 2**62, **changes})


def decided(vectors: list[FeatureVector | bytes]) -> tuple[list[Signal], int]:
    """The signals, and how many vectors were not active."""
    step = run(InferenceStage(0), records(vectors), CONTEXT)
    return signals(step), step.counts["vectors_not_active"]


def test_two_lineages_side_by_side_are_not_decided_in_turns() -> None:
    pairs = [v for i in range(5) for v in (at(OLD, i, i), at(NEW, i, i))]
    found, idle = decided(pairs)
    assert shown(found) == [(1, 1, "edge")]
    assert found[0].feature_lineage == OLD
    assert idle == 5


@pytest.mark.parametrize("first", [OLD, NEW])
def test_the_newer_lineage_takes_over_at_the_days_start_whichever_comes_first(first: str) -> None:
    today = [v for i in range(4) for v in (at(OLD, i, i), at(NEW, i, i))]
    end = [at(lineage, 4, 5, session_end=True) for lineage in (OLD, NEW)]
    second = NEW if first == OLD else OLD
    tomorrow = [v for i in range(5, 9) for v in (at(first, i, i, day=1), at(second, i, i, day=1))]
    found, _ = decided([*today, *end, *tomorrow])
    assert [(s.feature_lineage, s.side, s.reason) for s in found] == [
        (OLD, 1, "edge"),
        (OLD, 0, "session_end"),
        (NEW, 1, "edge"),
    ]
    # It does not flip back on the days after.
    later = [v for i in range(9, 12) for v in (at(OLD, i, i, day=2), at(NEW, i, i, day=2))]
    found, _ = decided([*today, *end, *tomorrow, *later])
    assert {s.feature_lineage for s in found if s.ts_event_ns >= tomorrow[0].ts_event_ns} == {NEW}


def test_a_lineage_that_has_not_come_as_far_does_not_take_over() -> None:
    behind = [at(NEW, i, i) for i in range(3)]  # still computing today's morning
    found, _ = decided([*(at(OLD, i, i) for i in range(10)), *behind, *(at(OLD, i, i, day=1) for i in range(10, 13))])
    assert {s.feature_lineage for s in found} == {OLD}


def test_days_that_were_decided_are_not_decided_again_by_a_new_release() -> None:
    past = [at(OLD, i, i % 10, day=i // 10) for i in range(30)]
    again = [at(NEW, i, i % 10, day=i // 10) for i in range(30)]
    found, idle = decided([*past, *again])
    assert {s.feature_lineage for s in found} == {OLD}
    assert idle == 30


def test_a_lineage_that_stopped_within_the_day_is_replaced_and_its_position_closed_first() -> None:
    old = [at(OLD, i, i) for i in range(5)]
    new = [at(NEW, i, i) for i in range(40)]
    found, idle = decided([*old, *new])
    assert [(s.feature_lineage, s.feature_seq, s.previous_side, s.side, s.reason) for s in found] == [
        (OLD, 1, 0, 1, "edge"),
        (NEW, 15, 1, 0, "roll_over"),  # ahead alone since 5
        (NEW, 17, 0, 1, "edge"),  # the cooldown of 2 s goes on
    ]
    assert (found[1].model_id, found[1].components, found[1].mode) == ("model-champion", {}, "live")
    assert TAKEOVER_NS == 10 * SECOND
    assert idle == 15


def test_going_back_to_the_old_release_works_the_same_way() -> None:
    new = [v for i in range(5) for v in (at(OLD, i, i), at(NEW, i, i))]
    new += [at(NEW, i, i, day=1) for i in range(5, 9)]
    old = [at(OLD, i, i, day=1) for i in range(5, 30)]
    found, _ = decided([*new, *old])
    assert [(s.feature_lineage, s.reason) for s in found][-3:] == [(NEW, "edge"), (OLD, "roll_over"), (OLD, "edge")]


def test_a_slower_lineage_keeps_deciding_while_it_lives() -> None:
    """The one that is ahead alone for a while falls back into line with each vector of the followed one."""
    mixed: list[FeatureVector | bytes] = [at(OLD, 0, -1)]
    for i in range(0, 60, 6):
        mixed += [at(NEW, k, k) for k in range(i, i + 6)] + [at(OLD, k + 1, k) for k in range(i, i + 6)]
    found, _ = decided(mixed)
    assert {s.feature_lineage for s in found} == {OLD}


def test_a_higher_stream_is_decided_from_its_start_whatever_its_time_and_lineage() -> None:
    tape = [at(OLD, i, 100 + i) for i in range(5)]
    again = [at(NEW, i, i, stream=2) for i in range(3)]
    third = [at(OLD, i, 50 + i, stream=3) for i in range(3)]
    found, idle = decided([*tape, *again, *third])
    assert [(s.stream, s.feature_seq, s.side, s.reason) for s in found] == [
        (1, 1, 1, "edge"),
        (2, 0, 0, "gap"),
        (2, 1, 1, "edge"),
        (3, 0, 0, "gap"),
        (3, 1, 1, "edge"),
    ]
    assert idle == 0


def test_a_halted_lineage_is_closed_and_replaced_by_one_that_goes_on() -> None:
    old = [at(OLD, 0, 0), at(OLD, 1, 1), at(OLD, 5, 5), at(OLD, 6, 6)]
    step = run(InferenceStage(0), records([*old, *(at(NEW, i, i) for i in range(20))]), CONTEXT)
    assert [(s.feature_lineage, s.side, s.reason) for s in signals(step)] == [
        (OLD, 1, "edge"),
        (OLD, 0, "halt"),
        (NEW, 1, "edge"),
    ]
    assert "expected seq 2" in step.halts["AAA"]


def test_a_hole_in_a_lineage_that_is_not_followed_halts_nothing() -> None:
    mixed = [at(OLD, 0, 0), at(NEW, 0, 0), at(NEW, 5, 5), at(OLD, 1, 1)]
    step = run(InferenceStage(0), records(mixed), CONTEXT)
    assert (step.halts, shown(signals(step))) == ({}, [(1, 1, "edge")])


def test_pairs_are_followed_on_their_own() -> None:
    other = bound("challenger", bar_spec="tick:9", digest="d" * 64)
    mixed = [v for i in range(4) for v in (at(OLD, i, i), at(NEW, i, i, bar_spec="tick:9"))]
    step = run(InferenceStage(0), records(mixed), context(bound(), other))
    assert {(s.role, s.feature_lineage) for s in signals(step)} == {("champion", OLD), ("challenger", NEW)}
    assert step.counts["vectors_not_active"] == 0


def test_what_is_remembered_of_lineages_is_bounded() -> None:
    stage = InferenceStage(0)
    run(stage, records([at(OLD, 0, 0)]), CONTEXT)
    run(stage, records([at(f"{k:016}", 0, -1) for k in range(2, 300)], 1), CONTEXT)
    (followed,) = stage._state.followed.values()
    assert len(followed.rivals) <= 8
    assert len(stage._state.positions) == 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 299), max_size=8))
def test_any_interleaving_decides_no_event_twice_and_does_not_depend_on_batches(seed: int, cuts: list[int]) -> None:
    runs = {
        lineage: [at(lineage, i, i % 25, 0.75 if i % 7 < 4 else 0.25, day=i // 25) for i in range(150)]
        for lineage in (OLD, NEW)
    }
    turns = [lineage for lineage in runs for _ in range(150)]
    Random(seed).shuffle(turns)
    heads = {lineage: iter(found) for lineage, found in runs.items()}
    log = records([next(heads[lineage]) for lineage in turns])
    whole = InferenceStage(0)
    found = signals(run(whole, log, CONTEXT))
    times = [s.ts_event_ns for s in found]
    assert times == sorted(set(times))
    assert all(a.side == b.previous_side for a, b in itertools.pairwise(found))
    stage, parts = InferenceStage(0), []
    for start, stop in itertools.pairwise([0, *sorted(set(cuts)), len(log)]):
        again = InferenceStage(0)
        again.restore(stage.snapshot())
        stage = again
        parts += signals(run(stage, log[start:stop], CONTEXT))
    assert [encode(s) for s in parts] == [encode(s) for s in found]
    assert stage.snapshot() == whole.snapshot()
