"""A tape played: complete, in order, cut where it should be, by its own clock."""

from __future__ import annotations

import asyncio

import pytest

from tapelab.common.clock import ManualClock
from tapelab.common.codec import seq_range
from tapelab.common.errors import ConfigError
from tapelab.common.runtime.headers import INGEST, TRACE, read_stamp, traceparent
from tapelab.common.sources.simulator import Simulator
from tapelab.ingest.lanes import FLAT_OUT_ROWS, PACED_ROWS
from tapelab.ingest.pace import finer, parse_speed
from tapelab.ingest.replay import Replay
from tests.common.sources.tapes import read, same, simulated
from tests.services.ingest.test_sessions import at
from tests.services.ingest.wire import Board, Wire, lanes

CUT = at(5, "09:00:00")


async def _play(
    tape: Simulator, board: Board, *, speed: float | None, cut_ns: int | None = CUT, stop: bool = False
) -> tuple[Wire, ManualClock]:
    clock = ManualClock()
    wire = Wire(clock)
    stopping = asyncio.Event()
    if stop:
        stopping.set()
    play = Replay(tape, lanes(wire, clock), board, clock, stopping, cut_ns=cut_ns, speed=speed)  # type: ignore[arg-type]
    await play.announce()
    await play.run()
    return wire, clock


@pytest.mark.parametrize("speed", [None, 60.0, 3600.0])
async def test_every_print_is_published_once_in_order_at_any_speed(speed: float | None) -> None:
    tape = simulated()
    wire, _ = await _play(tape, Board(), speed=speed)
    for symbol, ticks in read(tape).items():
        assert same(wire.ticks(symbol), ticks)


async def test_the_payload_does_not_depend_on_wall_time_and_the_stamps_are_headers() -> None:
    wire, clock = await _play(simulated(days=1), Board(), speed=None, cut_ns=None)
    for record in wire.records:
        assert read_stamp(record.headers, INGEST) == clock.now_ns()
        assert record.timestamp_ms == clock.now_ns() // 10**6
    # The trace is a digest of the prints: anybody can compute it from them.
    traces = {
        dict(record.headers)[TRACE]: traceparent(batch.symbol, batch.stream, *seq_range(batch))
        for record, batch in zip(wire.records, wire.batches(), strict=True)
    }
    assert len(traces) == len(wire.records)
    assert all(carried == computed for carried, computed in traces.items())


async def test_the_first_part_ends_at_the_cut_and_waits_for_the_release() -> None:
    board = Board(release_after=3)
    wire, _ = await _play(simulated(), board, speed=None)
    assert board.states == ["playing_first", "waiting", "playing_rest", "done"]
    assert board.looks == 4
    waiting = next(status for status in board.statuses if status.state == "waiting")
    assert waiting.cut_ts_ns == CUT
    for symbol, published in waiting.symbols.items():
        before = (wire.ticks(symbol).ts_event_ns < CUT).sum()
        assert published == {"stream": published["stream"], "next_seq": before}


async def test_a_session_end_follows_the_last_print_of_each_session() -> None:
    wire, _ = await _play(simulated(), Board(), speed=None)
    for symbol, close in (("WINZ26", "18:25:00"), ("BOVA11", "17:00:00")):
        marks = [(b.session_end_ns, b.first_seq) for b in wire.batches(symbol) if b.n == 0]
        days = wire.ticks(symbol).ts_event_ns < CUT
        assert marks == [(at(4, close), days.sum()), (at(5, close), len(days))]
    kinds = [b.n == 0 for b in wire.batches("WDOZ26")]
    assert kinds[-1]
    # At the cut the first day is over: its end is out before the wait.
    assert kinds.index(True) < len(kinds) - 1


async def test_records_stay_small_while_paced_and_large_flat_out() -> None:
    board = Board()
    wire, _ = await _play(simulated(), board, speed=60.0)
    paced = [b for b in wire.batches() if b.n and b.ticks().ts_event_ns[0] >= CUT]
    assert max(b.n for b in paced) <= PACED_ROWS
    flat = [b for b in wire.batches() if b.n and b.ticks().ts_event_ns[0] < CUT]
    assert PACED_ROWS / 2 < max(b.n for b in flat) <= FLAT_OUT_ROWS


@pytest.mark.parametrize("speed", [1.0, 60.0])
async def test_the_tapes_own_clock_sets_the_pace(speed: float) -> None:
    tape = simulated(days=1)
    first, last = tape.time_range()
    wire, _ = await _play(tape, Board(), speed=speed, cut_ns=None)
    took_s = (wire.sent_ns[-2] - wire.sent_ns[0]) / 1e9
    assert took_s == pytest.approx((last - first) / 1e9 / speed, rel=0.02)
    step_s = max(b - a for a, b in zip(wire.sent_ns, wire.sent_ns[1:], strict=False)) / 1e9
    assert step_s < 5.0 / speed + 0.05


async def test_a_night_is_shortened() -> None:
    wire, _ = await _play(simulated(), Board(), speed=60.0, cut_ns=None)
    played_s = (wire.sent_ns[-1] - wire.sent_ns[0]) / 1e9
    assert played_s < 2 * 360 / 60 + 2  # two days of six minutes and a night of one


async def test_a_stop_ends_the_replay_without_ending_sessions() -> None:
    wire, _ = await _play(simulated(), Board(), speed=None, stop=True)
    assert wire.records == []


def test_finer_steps_hold_the_same_prints() -> None:
    (part, *_) = simulated(days=1).slices(60 * 10**9)
    steps = list(finer(part, 1_500_000_000))
    assert [step.end_ns for step in steps] == sorted({step.end_ns for step in steps})
    for chunk in part.chunks:
        pieces = [c.ticks for step in steps for c in step.chunks if c.symbol == chunk.symbol]
        assert sum(piece.n for piece in pieces) == chunk.ticks.n
    for step in steps:
        for chunk in step.chunks:
            assert (chunk.ticks.ts_event_ns < step.end_ns).all()


@pytest.mark.parametrize("speed", ["fast", "0", "-1", "inf", "nan"])
def test_a_wrong_speed_is_an_error(speed: str) -> None:
    assert parse_speed("max") is None
    assert parse_speed("60") == 60.0
    with pytest.raises(ConfigError, match="TAPELAB_INGEST_SPEED"):
        parse_speed(speed)
