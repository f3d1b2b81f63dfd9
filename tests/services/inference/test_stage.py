"""When signals leave, and what they say."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tapelab.common.codec import decode, encode
from tapelab.common.errors import RecoveryError
from tapelab.common.pipeline import signal_lineage
from tapelab.inference.stage import InferenceStage
from tests.services.inference.vectors import (
    COSTS,
    DOWN,
    EMPTY,
    EVEN,
    SECOND,
    T0,
    UP,
    bound,
    context,
    decide,
    records,
    run,
    shown,
    signals,
    vector,
)

# The first vector of a stream is never acted on (what was before it is unknown), so tests begin with one.


def test_an_edge_opens_and_the_signal_says_everything_about_it() -> None:
    (signal,) = decide([vector(0), vector(1, UP)])
    assert (signal.side, signal.previous_side, signal.reason, signal.mode) == (1, 0, "edge", "live")
    assert (signal.score, signal.expected_return, signal.threshold) == (0.75, 0.0025, 0.0005)
    assert signal.expected_cost == pytest.approx(0.001)
    assert (signal.ts_event_ns, signal.valid_until_ns) == (T0 + SECOND, T0 + 2 * SECOND)
    assert (signal.model_id, signal.model_digest) == ("model-champion", "c" * 64)
    assert (signal.input_topic, signal.input_partition, signal.input_offset) == ("ml.features.v1", 0, 1)
    assert (signal.stream, signal.seq, signal.feature_lineage, signal.feature_seq) == (1, 0, "f" * 16, 1)
    assert (signal.components, signal.weights) == ({"model-champion": 0.75}, {"model-champion": 1.0})
    assert (signal.halted, signal.halt_reason, signal.ref_price) == (False, "", 100.0)
    assert signal.lineage == signal_lineage(msgspec.json.encode(COSTS[0].costs).decode(), "f" * 16)
    assert len(signal.signal_id) == 32
    assert decode("ml.signals.v1", encode(signal)) == signal


def test_an_edge_that_does_not_pay_its_cost_and_threshold_opens_nothing() -> None:
    assert decide([vector(0), vector(1, 0.649)]) == []  # 0.00149 < 0.001 + 0.0005
    assert len(decide([vector(0), vector(1, 0.651)])) == 1


def test_a_signal_leaves_only_when_the_side_changes() -> None:
    found = decide([vector(0), *(vector(i, UP) for i in range(1, 8))])
    assert shown(found) == [(1, 1, "edge")]


def test_a_flip_waits_for_the_cooldown_in_event_time() -> None:
    found = decide([vector(0), vector(1, UP), vector(2, DOWN), vector(3, DOWN)])
    assert shown(found) == [(1, 1, "edge"), (3, -1, "flip")]
    assert found[1].previous_side == 1


def test_a_position_ends_when_its_hold_is_not_renewed() -> None:
    quiet = [vector(i, EVEN) for i in range(4, 26)]
    found = decide([vector(0), vector(1, UP), vector(2), vector(3, UP), *quiet])
    assert shown(found) == [(1, 1, "edge"), (24, 0, "exit")]


def test_the_session_ends_flat() -> None:
    near = vector(2, UP, at_s=3570)
    assert shown(decide([vector(0), vector(1, UP), near])) == [(1, 1, "edge"), (2, 0, "session_end")]
    last = vector(2, UP, session_end=True)
    assert shown(decide([vector(0), vector(1, UP), last])) == [(1, 1, "edge"), (2, 0, "session_end")]


@pytest.mark.parametrize("halted", ["AAA", "*"])
def test_a_halt_flattens_at_the_next_vector_and_opens_nothing(halted: str) -> None:
    stage = InferenceStage(0)
    run(stage, records([vector(0), vector(1, UP)]), context())
    under = context(halts={halted: "news"})
    (signal,) = signals(run(stage, records([vector(2, UP), vector(3, DOWN)], 2), under))
    assert (signal.side, signal.reason, signal.halted, signal.halt_reason) == (0, "halt", True, "news")
    assert shown(signals(run(stage, records([vector(4, UP)], 4), context()))) == [(4, 1, "edge")]


def test_a_halt_without_a_reason_is_a_halt() -> None:
    assert decide([vector(0), vector(1, UP)], context(halts={"AAA": ""})) == []


def test_a_halt_of_another_symbol_changes_nothing() -> None:
    assert len(decide([vector(0), vector(1, UP)], context(halts={"BBB": "news"}))) == 1


def test_vectors_that_are_not_warm_or_follow_a_gap_flatten_and_open_nothing() -> None:
    assert shown(decide([vector(0), vector(1, UP), vector(2, UP, after_gap=True)])) == [(1, 1, "edge"), (2, 0, "gap")]
    assert shown(decide([vector(0), vector(1, UP), vector(2, UP, warm=False)])) == [(1, 1, "edge"), (2, 0, "gap")]
    assert decide([vector(0), vector(1, UP, warm=False), vector(2, UP, after_gap=True)]) == []


def test_a_hole_that_a_dead_letter_explains_flattens_and_goes_on() -> None:
    stage = InferenceStage(0)
    step = run(stage, records([vector(0), vector(1, UP), b"rubbish", vector(3, UP), vector(6, UP)]), context())
    assert [dead.cause for dead in step.dead] == [2]
    assert "expected a record of schema ml.features.v1" in step.dead[0].reason
    assert shown(signals(step)) == [(1, 1, "edge"), (3, 0, "gap")]
    assert "expected seq 4" in step.halts["AAA"]
    assert (step.counts["gaps"], step.counts["vectors_halted"]) == (1, 1)


def test_a_hole_that_nothing_explains_flattens_and_stops_the_symbol() -> None:
    step = run(InferenceStage(0), records([vector(0), vector(1, UP), vector(3, UP), vector(4, UP)]), context())
    assert shown(signals(step)) == [(1, 1, "edge"), (3, 0, "halt")]
    assert "AAA halted at ml.features.v1[0]@2: expected seq 2" in step.halts["AAA"]
    assert signals(step)[1].halt_reason == step.halts["AAA"]
    assert (step.counts["gaps"], step.counts["vectors_halted"]) == (0, 2)


def test_records_seen_before_are_dropped_and_counted() -> None:
    stage = InferenceStage(0)
    run(stage, records([vector(0), vector(1, UP)]), context())
    step = run(stage, records([vector(0), vector(1, UP), vector(2, UP)], 2), context())
    assert step.counts["duplicates"] == 2
    assert step.outputs == []


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (vector(1, values=b"abc"), "expected float32 values, got 3 bytes"),
        (vector(1, values=b""), "expected float32 values, got 0 bytes"),
        (vector(1, float("nan")), "expected finite values, got 1 that are not"),
        (vector(1, ref_price=0.0), "expected a price above 0"),
        (vector(1, values=np.zeros(5, "<f4").tobytes()), "expected 4 values of feature set 0123456789abcdef, got 5"),
        (vector(0, symbol="a-b"), "expected a symbol of config/instruments.yaml, got a-b"),
    ],
)
def test_what_cannot_be_a_vector_goes_to_the_dead_letters_and_the_flow_goes_on(wrong, expected: str) -> None:
    step = run(InferenceStage(0), records([vector(0), wrong, vector(2), vector(3, UP)]), context())
    assert [dead.cause for dead in step.dead] == [1]
    assert expected in step.dead[0].reason
    if wrong.symbol == "AAA":
        assert shown(signals(step)) == [(3, 1, "edge")]


def test_roles_hold_positions_of_their_own_and_share_one_numbering() -> None:
    under = context(bound(), bound("challenger", decision={"threshold": 0.01}))
    assert [s.model_id for s in decide([vector(0), vector(1, UP)], under)] == ["model-champion"]
    under = context(bound(), bound("challenger", decision={"cooldown_ns": 0}))
    found = decide([vector(0), vector(1, UP), vector(2, DOWN), vector(3, DOWN)], under)
    assert [(s.mode, s.side, s.seq) for s in found] == [
        ("live", 1, 0),
        ("shadow", 1, 1),
        ("shadow", -1, 2),
        ("live", -1, 3),
    ]
    assert len({s.signal_id for s in found}) == 4


def test_a_symbols_own_pointer_overrides_the_default() -> None:
    own = bound(symbol="BBB", model_id="own", digest="e" * 64, mode="canary")
    vectors = [v for i in range(2) for v in (vector(i, UP), vector(i, UP, symbol="BBB"))]
    found = decide(vectors, context(bound(), own))
    assert {(s.symbol, s.model_id, s.mode) for s in found} == {
        ("AAA", "model-champion", "live"),
        ("BBB", "own", "canary"),
    }


def test_vectors_of_another_feature_set_or_bars_are_left_alone() -> None:
    others = [vector(i, UP, lineage="0" * 16, bar_spec="tick:9") for i in range(3)]
    sets = [vector(i, UP, lineage="1" * 16, feature_set_id="0" * 16) for i in range(3)]
    step = run(InferenceStage(0), records([*others, *sets]), context())
    assert step.outputs == []
    assert step.dead == []
    assert step.counts["unmodelled"] == 6


def test_without_a_model_vectors_are_read_and_no_signal_leaves() -> None:
    step = run(InferenceStage(0), records([vector(0), vector(1, UP)]), EMPTY)
    assert (step.outputs, step.dead, step.counts["unmodelled"]) == ([], [], 2)
    assert run(InferenceStage(0), records([vector(0)]), b"").dead != []  # not even costs: nothing can be decided


def test_positions_carry_on_under_a_new_champion() -> None:
    stage = InferenceStage(0)
    run(stage, records([vector(0), vector(1, UP)]), context())
    new = bound(model_id="new", digest="e" * 64, version=2)
    found = signals(run(stage, records([vector(2, UP), vector(3, DOWN)], 2), context(new)))
    assert [(s.side, s.previous_side, s.reason, s.model_digest) for s in found] == [(-1, 1, "flip", "e" * 64)]
    assert b"e" * 64 in stage.snapshot()


def test_a_change_of_mode_closes_under_the_old_mode_first() -> None:
    stage = InferenceStage(0)
    run(stage, records([vector(0), vector(1, UP)]), context())
    shadow = context(bound(mode="shadow", model_id="new", digest="e" * 64))
    found = signals(run(stage, records([vector(i, UP) for i in range(2, 6)], 2), shadow))
    assert [(s.feature_seq, s.side, s.reason, s.mode, s.model_id) for s in found] == [
        (2, 0, "model_change", "live", "model-champion"),
        (4, 1, "edge", "shadow", "new"),
    ]
    assert found[0].components == {}


def test_a_retired_model_leaves_no_position_behind() -> None:
    stage = InferenceStage(0)
    run(stage, records([vector(0), vector(1, UP)]), context())
    (signal,) = signals(run(stage, records([vector(2, UP), vector(3, UP)], 2), EMPTY))
    assert (signal.side, signal.reason, signal.mode, signal.model_digest) == (0, "model_change", "live", "c" * 64)


def test_a_new_stream_begins_flat_with_its_own_numbers_and_no_cooldown() -> None:
    stage = InferenceStage(0)
    run(stage, records([vector(0), vector(1, UP, at_s=1000)]), context())
    again = [vector(0, UP, stream=2), vector(1, UP, stream=2), vector(2, UP, stream=1)]
    found = signals(run(stage, records(again, 2), context()))
    assert [(s.stream, s.seq, s.side, s.reason) for s in found] == [(2, 0, 0, "gap"), (2, 1, 1, "edge")]


def test_what_is_no_state_is_refused() -> None:
    for blob in (b"\x93\x01\x02\x03", b"\xc1", b"\x94\x01\x02\x03\xabinference/9"):
        with pytest.raises(RecoveryError, match=r"expected a state of layout inference/2 or older, got .*; run the"):
            InferenceStage(0).restore(blob)
