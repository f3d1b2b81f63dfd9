"""The kernel equals the readable reference bit for bit, whatever comes and however it is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.reference import ReferenceBars
from tapelab.quant.bars.rules import eligible
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.bars.state import BLOCK
from tapelab.quant.dtypes import TickFlag
from tapelab.quant.ticks import Ticks
from tests.quant.bars.compare import assert_reference, assert_same
from tests.quant.bars.tapes import CALENDAR, TYPES, seeded, sessions, tapes

pytestmark = pytest.mark.slow

SPECS = [BarSpec.parse(text) for text in ("tick:3", "volume:5.3", "dollar:1000", "time:1s", "time:7m", "tick:1")]
ORDEAL = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))

ACTIONS = st.sampled_from(["update", "update", "update", "marker", "gap", "reset", "restore", "stream"])


@ORDEAL
@given(tape=tapes(), data=st.data())
def test_any_history_gives_the_bars_of_the_reference(tape: Ticks, data: st.DataObject) -> None:
    builder = BarBuilder(SPECS, CALENDAR, TYPES)
    references = [ReferenceBars(spec, CALENDAR, TYPES) for spec in SPECS]
    row = 0
    while row < tape.n:
        match data.draw(ACTIONS):
            case "update":
                stop = data.draw(st.integers(row, tape.n))
                book = data.draw(st.integers(0, 9))
                got = builder.update(tape.slice(row, stop), row, book)
                want = [reference.update(tape.slice(row, stop), row, book) for reference in references]
                row = stop
            case "marker":
                close_ns = data.draw(st.sampled_from(sessions(4))).close_ns
                got = builder.end_session(close_ns)
                want = [reference.end_session(close_ns) for reference in references]
                assert not any(len(bars) for bars in builder.end_session(close_ns))
            case "restore":
                blob = builder.snapshot()
                builder = BarBuilder(SPECS, CALENDAR, TYPES)
                builder.restore(blob)
                assert builder.snapshot() == blob
                continue
            case "stream":
                builder.new_stream()
                for reference in references:
                    reference.new_stream()
                continue
            case action:
                builder.reset(action == "gap")
                for reference in references:
                    reference.reset(action == "gap")
                continue
        for left, right in zip(got, want, strict=True):
            assert_reference(left, right)
    for left, reference in zip(builder.end_tape(), references, strict=True):
        assert_reference(left, reference.end_tape())


@ORDEAL
@given(tape=tapes())
def test_the_eligible_prints_are_those_that_bars_count(tape: Ticks) -> None:
    bars = compute_bars(tape, BarSpec("tick", 1), CALENDAR, TYPES)
    counted = bars["first_tick_seq"][bars["n"] > 0]
    np.testing.assert_array_equal(np.flatnonzero(eligible(tape, CALENDAR, TYPES)), counted)


@pytest.mark.parametrize("text", ["tick:50", "volume:800", "dollar:5e7", "time:90s"])
def test_a_long_troubled_tape_gives_the_bars_of_the_reference(text: str) -> None:
    tape = seeded(9_000, seed=7)
    spec = BarSpec.parse(text)
    reference = ReferenceBars(spec, CALENDAR, TYPES)
    want = np.concatenate([reference.update(tape, 0), reference.end_tape()])
    assert len(want) > 30
    assert_reference(compute_bars(tape, spec, CALENDAR, TYPES), want)


@pytest.mark.parametrize("text", ["tick:50", "tick:5000", "volume:800", "dollar:5e7", "time:90s"])
@pytest.mark.parametrize("agents", [True, False])
def test_a_sound_tape_gives_the_bars_of_the_reference(text: str, agents: bool) -> None:
    """Blocks without anything to leave out take a way of their own; one odd print sends its block the other way."""
    troubled = seeded(9_000, seed=8, days=1, agents=agents)
    kept = np.flatnonzero(eligible(troubled, CALENDAR, TYPES))
    kept = kept[np.argsort(troubled.ts_event_ns[kept], kind="stable")]
    sound = Ticks._make(column[kept] for column in troubled)
    assert len(kept) > 12 * BLOCK
    sound.flags[::37] |= int(TickFlag.RLP)
    odd = sound._replace(price=sound.price.copy())
    odd.price[4 * BLOCK + 5] = np.nan
    spec = BarSpec.parse(text)
    for tape in (sound, odd):
        reference = ReferenceBars(spec, CALENDAR, TYPES)
        want = np.concatenate([reference.update(tape, 0), reference.end_tape()])
        assert_reference(compute_bars(tape, spec, CALENDAR, TYPES), want)


def test_chunks_and_restores_do_not_show_on_a_long_tape() -> None:
    tape = seeded(60_000, seed=11, days=2)
    specs = [BarSpec.parse(text) for text in ("tick:50", "volume:800", "time:5s")]
    whole = [compute_bars(tape, spec, CALENDAR, TYPES) for spec in specs]
    rng = np.random.default_rng(3)
    builder = BarBuilder(specs, CALENDAR, TYPES)
    closed: list[list[Any]] = [[] for _ in specs]
    row = 0
    while row < tape.n:
        stop = min(tape.n, row + int(rng.choice([1, 7, 512, 1_024, 5_000])))
        for pieces, bars in zip(closed, builder.update(tape.slice(row, stop), row), strict=True):
            pieces.append(bars)
        row = stop
        if rng.random() < 0.1:
            blob = builder.snapshot()
            builder = BarBuilder(specs, CALENDAR, TYPES)
            builder.restore(blob)
    for pieces, bars, want in zip(closed, builder.end_tape(), whole, strict=True):
        assert_same(np.concatenate([*pieces, bars]), want)


def test_a_ring_that_must_grow_and_many_agents_do_not_show() -> None:
    tape = seeded(40_000, seed=5, days=1)
    dense = tape._replace(
        ts_event_ns=sessions(1)[0].open_ns + np.arange(tape.n) * 1_000_000,
        buy_agent=(np.arange(tape.n) % 7_001).astype(np.int32) + 1,
    )
    spec = BarSpec.parse("tick:15000")
    reference = ReferenceBars(spec, CALENDAR, TYPES)
    want = np.concatenate([reference.update(dense, 0), reference.end_tape()])
    assert_reference(compute_bars(dense, spec, CALENDAR, TYPES), want)
    half = BarBuilder([spec], CALENDAR, TYPES)
    first = half.update(dense.slice(0, 31_000), 0)[0]
    again = BarBuilder([spec], CALENDAR, TYPES)
    again.restore(half.snapshot())
    rest = again.update(dense.slice(31_000), 31_000)[0]
    assert_same(np.concatenate([first, rest, again.end_tape()[0]]), want)
