"""Prints from the ticks topic."""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.common import topics
from tapelab.common.codec import encode
from tapelab.common.errors import GapError
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.ticks import TickBatch
from tapelab.quant.ticks import Ticks
from tapelab.trainer.topic_ticks import assemble
from tests.services.trainer.data import tape

TICKS = tape()["WINZ26"].slice(0, 300)


def record(offset: int, start: int, stop: int, *, stream: int = 1, session_end_ns: int = 0) -> Record:
    batch = TickBatch.pack(
        TICKS.slice(start, stop),
        symbol="WINZ26",
        exchange="B3",
        stream=stream,
        lineage="l",
        first_seq=start,
        session_end_ns=session_end_ns,
    )
    return Record(topics.TICKS, 0, offset, b"WINZ26", encode(batch))


def same(got: Ticks, want: Ticks) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))


def test_records_become_streams_without_doubles_markers_and_poison() -> None:
    poison = Record(topics.TICKS, 0, 3, b"WINZ26", b"\xc1")
    records = [
        record(0, 0, 100),
        record(1, 100, 150),
        record(2, 50, 200),
        poison,
        record(4, 200, 200, session_end_ns=9),
    ]
    found = assemble([*records, record(5, 200, 300), record(6, 0, 40, stream=2)])
    assert set(found) == {("WINZ26", 1), ("WINZ26", 2)}
    assert found["WINZ26", 1][0] == 0
    assert same(found["WINZ26", 1][1], TICKS)
    assert same(found["WINZ26", 2][1], TICKS.slice(0, 40))


def test_a_topic_may_begin_in_the_middle_of_a_stream() -> None:
    first_seq, ticks = assemble([record(0, 120, 300)])["WINZ26", 1]
    assert first_seq == 120
    assert same(ticks, TICKS.slice(120))


def test_a_hole_is_an_error() -> None:
    with pytest.raises(GapError, match="expected seq 100 of stream 1, got 101"):
        assemble([record(0, 0, 100), record(1, 101, 300)])
