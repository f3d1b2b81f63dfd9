"""What a stage wrote as its state is read by every later release: golden bytes of each layout there has been.

To change the layout on purpose, give it a new schema with a migration, write its bytes beside the old ones
(``python -m tests.contracts.test_state_bytes``), and leave the old files as they are.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from tapelab.common.errors import RecoveryError
from tapelab.common.pipeline import signal_lineage
from tapelab.common.runtime.sequence import Mark, SequenceState
from tapelab.inference.context import SCHEMA as CONTEXT_SCHEMA
from tapelab.inference.context import view_of
from tapelab.inference.lineages import Followed, Rival
from tapelab.inference.stage import InferenceStage
from tapelab.inference.state import SCHEMA, Numbering, Position, State, decode_state, encode_state
from tests.services.inference.vectors import COSTS, bound, context, records, run, shown, signals, vector

GOLDEN = Path(__file__).parent / "golden" / "state"

#: The newest layout, every field with a value of its own.
STATE = State(
    sequence=SequenceState(
        {"AAA\x1fffffffffffffffff": Mark(1, 12, 40), "BBB\x1ff0": Mark(3, 7, 9, "halted")}, {"AAA": 41}
    ),
    positions={
        "AAA\x1fchampion": Position(1, "f" * 16, "live", "model-champion", "c" * 64, 1, 1_763_553_600_000_000_000, 5)
    },
    numbers={"AAA\x1fsignals": Numbering(1, 4)},
    schema=SCHEMA,
    followed={
        "AAA\x1ftick:50\x1f0123456789abcdef": Followed(
            "f" * 16, 1, 2, 1, 20251119, 1_763_553_600_000_000_000, {"e" * 16: Rival(2, 1, 6, 7)}
        )
    },
)


def golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / name).read_text())


def test_the_state_of_inference_has_its_golden_bytes() -> None:
    assert encode_state(STATE) == golden("inference.2.hex")
    assert decode_state(golden("inference.2.hex")) == STATE


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("inference.[0-9].hex")), ids=lambda p: p.stem)
def test_every_state_there_has_been_is_read_and_its_positions_are_kept(path: Path) -> None:
    state = decode_state(golden(path.name))
    assert state.schema == SCHEMA
    assert state.positions == STATE.positions
    assert state.numbers == STATE.numbers
    assert {name: (m.stream, m.next_seq) for name, m in state.sequence.marks.items()} == {
        name: (m.stream, m.next_seq) for name, m in STATE.sequence.marks.items()
    }
    assert "halted" in state.sequence.marks["BBB\x1ff0"].halted


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("inference.[0-9].hex")), ids=lambda p: p.stem)
def test_a_position_of_an_older_release_is_closed_by_this_one(path: Path) -> None:
    stage = InferenceStage(0)
    stage.restore(golden(path.name))
    found = signals(run(stage, records([vector(12, session_end=True)], 50), context()))
    assert [(s.previous_side, s.side, s.reason) for s in found] == [(1, 0, "session_end")]


def test_a_dead_letter_of_before_the_migration_still_explains_its_hole_and_no_other() -> None:
    stage = InferenceStage(0)
    stage.restore(golden("inference.1.hex"))
    step = run(stage, records([vector(13), vector(15)], 50), context())
    assert shown(signals(step)) == [(13, 0, "gap")]
    assert "expected seq 14" in step.halts["AAA"]


def test_a_context_of_an_older_release_keeps_its_meaning() -> None:
    old = json.loads(golden("context.1.hex"))
    assert (old["schema"], "release" in old) == (1, False)
    view = view_of(golden("context.1.hex"))
    costs = msgspec.json.encode(COSTS[0].costs).decode()
    assert view.bound("champion", "AAA") == bound()
    assert view.lineage("AAA", "f" * 16) == signal_lineage(costs, "f" * 16)


def test_signals_of_a_batch_another_release_decided_stay_that_releases() -> None:
    context_of_then = msgspec.json.decode(context())
    context_of_then["release"] = "0.0.9"
    lineage = view_of(msgspec.json.encode(context_of_then)).lineage("AAA", "f" * 16)
    assert lineage == signal_lineage(msgspec.json.encode(COSTS[0].costs).decode(), "f" * 16, "0.0.9")
    assert lineage != view_of(context()).lineage("AAA", "f" * 16)


def test_a_newer_context_or_state_is_refused_with_what_to_do() -> None:
    newer = {**msgspec.json.decode(context()), "schema": CONTEXT_SCHEMA + 1, "release": "9.9.9"}
    with pytest.raises(RecoveryError, match=r"layout 3 of release 9\.9\.9; run the release that wrote it"):
        view_of(msgspec.json.encode(newer))
    with pytest.raises(RecoveryError, match=r"got schema 'inference/3'; run the release that wrote it"):
        decode_state(encode_state(msgspec.structs.replace(STATE, schema="inference/3")))


if __name__ == "__main__":
    (GOLDEN / f"{SCHEMA.replace('/', '.')}.hex").write_text(encode_state(STATE).hex() + "\n")
