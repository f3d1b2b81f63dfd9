"""Symbols of one partition take turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tapelab.common.runtime.fairness import size_of, turns
from tapelab.common.runtime.stage import Record


def record(offset: int, symbol: str, size: int = 10) -> Record:
    return Record("md.ticks.v1", 0, offset, symbol.encode(), b"x" * size)


def test_a_quiet_symbol_does_not_wait_for_the_backlog_of_a_busy_one() -> None:
    log = [*(record(n, "BUSY") for n in range(1000)), record(1000, "QUIET"), record(1001, "CALM")]
    first = next(turns(log, 90, 1_000_000))
    assert {r.key for r in first} == {b"BUSY", b"QUIET", b"CALM"}
    assert len(first) == 90


def test_what_fits_into_one_step_stays_in_the_logs_order() -> None:
    log = [record(n, "AB"[n % 2]) for n in range(10)]
    assert list(turns(log, 10, 1_000_000)) == [log]
    assert list(turns([], 10, 1_000)) == []


def test_a_record_larger_than_a_step_is_a_step_of_its_own() -> None:
    log = [record(0, "A"), record(1, "A", 5000), record(2, "A")]
    assert [len(step) for step in turns(log, 10, 1000)] == [1, 1, 1]


@given(
    st.lists(st.tuples(st.sampled_from("ABCDE"), st.integers(0, 400)), max_size=60),
    st.integers(1, 8),
    st.integers(1, 1000),
)
def test_every_record_comes_once_in_its_symbols_order_and_steps_are_bounded(
    drawn: list[tuple[str, int]], max_records: int, max_bytes: int
) -> None:
    log = [record(n, symbol, size) for n, (symbol, size) in enumerate(drawn)]
    steps = list(turns(log, max_records, max_bytes))
    flat = [r for step in steps for r in step]
    assert sorted(flat, key=lambda r: r.offset) == log
    for symbol in "ABCDE":
        offsets = [r.offset for r in flat if r.key == symbol.encode()]
        assert offsets == sorted(offsets)
    for step in steps:
        assert len(step) <= max_records
        assert len(step) == 1 or sum(map(size_of, step)) <= max_bytes
