"""The reader's rule."""

from __future__ import annotations

import msgspec

from tapelab.common.codec import Identity
from tapelab.common.runtime.sequence import Sequencer, SequenceState, Verdict

WIN = Identity("WINZ26", 1, "lineage")


def admit(sequencer: Sequencer, first: int, last: int, who: Identity = WIN) -> object:
    return sequencer.admit(who, first, last, partition=0, offset=first)


def test_records_in_order_are_taken() -> None:
    sequencer = Sequencer("t")
    assert admit(sequencer, 0, 10).new_stream
    assert admit(sequencer, 10, 20) == (Verdict.TAKE, 0, "", False)


def test_what_was_seen_is_dropped_and_overlaps_are_sliced() -> None:
    sequencer = Sequencer("t")
    admit(sequencer, 0, 10)
    assert admit(sequencer, 0, 10).verdict is Verdict.DROP
    assert admit(sequencer, 4, 15) == (Verdict.TAKE, 6, "", False)
    assert admit(sequencer, 15, 16).verdict is Verdict.TAKE


def test_an_unexplained_hole_halts_the_symbol_and_names_where() -> None:
    sequencer = Sequencer("md.ticks.v1")
    admit(sequencer, 0, 10)
    halt = sequencer.admit(WIN, 12, 14, partition=3, offset=77)
    assert halt.verdict is Verdict.HALT
    assert "md.ticks.v1[3]@77" in halt.message
    assert "expected seq 10" in halt.message
    assert admit(sequencer, 14, 15).verdict is Verdict.HALT


def test_a_halt_stops_its_symbol_only() -> None:
    sequencer = Sequencer("t")
    admit(sequencer, 0, 10)
    admit(sequencer, 12, 14)
    assert admit(sequencer, 0, 3, Identity("WDOZ26", 1, "lineage")).verdict is Verdict.TAKE


def test_a_hole_that_a_dead_letter_explains_resets() -> None:
    sequencer = Sequencer("t")
    admit(sequencer, 0, 10)
    sequencer.note_dead(b"WINZ26", 11)
    assert admit(sequencer, 15, 20).verdict is Verdict.RESET
    assert admit(sequencer, 25, 30).verdict is Verdict.HALT


def test_a_dead_letter_explains_a_hole_of_every_lineage_of_its_symbol_once() -> None:
    sequencer = Sequencer("t")
    tick, volume = Identity("WINZ26", 1, "tick:50"), Identity("WINZ26", 1, "volume:100")
    for who in (tick, volume):
        admit(sequencer, 0, 1, who)
    sequencer.note_dead(b"WINZ26", 1)
    assert sequencer.admit(volume, 1, 2, partition=0, offset=2).verdict is Verdict.TAKE
    assert sequencer.admit(tick, 2, 3, partition=0, offset=3).verdict is Verdict.RESET
    assert sequencer.admit(tick, 4, 5, partition=0, offset=4).verdict is Verdict.HALT


def test_a_new_stream_starts_anew_and_ends_a_halt_and_an_older_one_is_dropped() -> None:
    sequencer = Sequencer("t")
    admit(sequencer, 0, 10)
    admit(sequencer, 12, 14)
    new = Identity("WINZ26", 2, "lineage")
    assert admit(sequencer, 0, 5, new).new_stream
    assert not sequencer.halted
    assert admit(sequencer, 14, 15).verdict is Verdict.DROP
    assert admit(sequencer, 5, 6, new).verdict is Verdict.TAKE


def test_the_state_survives_a_snapshot() -> None:
    sequencer = Sequencer("t")
    admit(sequencer, 0, 10)
    blob = msgspec.msgpack.encode(sequencer.state)
    again = Sequencer("t", msgspec.msgpack.decode(blob, type=SequenceState))
    assert admit(again, 0, 10).verdict is Verdict.DROP
    assert admit(again, 10, 11).verdict is Verdict.TAKE
