"""What a bar is, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.snapshot import SnapshotMismatch
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.dtypes import BarFlag, TickFlag
from tests.quant.bars.tapes import CALENDAR, MONDAY, SECOND, TYPES, seeded, sessions, simple, ticks_of

DAY_CHANGE = 24 * 3_600.0 * 2  # Tuesday is a holiday in the calendar


def bars_of(text: str, ticks: Any, **options: Any) -> Any:
    return compute_bars(ticks, BarSpec.parse(text), CALENDAR, TYPES, **options)


def test_the_print_that_reaches_the_threshold_belongs_to_the_bar_whole() -> None:
    bars = bars_of("volume:10", simple([100.0, 101.0, 99.0, 99.5], volumes=[4.0, 9.0, 3.0, 7.0]), tape_ended=False)
    assert bars["volume"].tolist() == [13.0, 10.0]
    assert bars["dollar"].tolist() == [100.0 * 4 + 101.0 * 9, 99.0 * 3 + 99.5 * 7]
    assert bars["seq"].tolist() == [0, 1]
    assert bars["first_tick_seq"].tolist() == [0, 2]
    assert bars["last_tick_seq"].tolist() == [1, 3]


def test_an_oversized_print_closes_one_bar_and_not_several() -> None:
    bars = bars_of("volume:10", simple([100.0, 100.0], volumes=[1e6, 10.0]), tape_ended=False)
    assert bars["n"].tolist() == [1, 1]


def test_the_session_ends_with_one_flagged_bar_even_with_nothing_pending() -> None:
    bars = bars_of("tick:2", simple([100.0, 101.0], volumes=[1.0, 2.0]), first_seq=40)
    assert bars["flags"].tolist() == [BarFlag.FIRST_OF_DAY, BarFlag.SESSION_END]
    last = bars[1]
    assert last["n"] == 0
    assert last["ts_open_ns"] == last["ts_close_ns"] == MONDAY.close_ns
    assert {last[name].item() for name in ("open", "high", "low", "close", "vwap")} == {101.0}
    assert last["volume"] == last["dollar"] == last["realised_var"] == last["n_5m"] == last["ret_5m"] == 0.0
    assert (last["first_tick_seq"], last["last_tick_seq"]) == (42, 41)


def test_a_print_of_a_later_session_closes_the_day_and_begins_afresh() -> None:
    bars = bars_of("tick:3", simple([100.0, 101.0, 50.0, 50.0], times_s=[1.0, 2.0, DAY_CHANGE, DAY_CHANGE]))
    assert bars["n"].tolist() == [2, 2]
    assert bars["day"].tolist() == [20240212, 20240214]
    assert bars["ts_close_ns"].tolist() == [s.close_ns for s in sessions(2)]
    assert bars["realised_var"][1] == 0.0
    assert bars["flags"].tolist() == [BarFlag.SESSION_END | BarFlag.FIRST_OF_DAY] * 2


def test_a_marker_ends_the_session_once_and_makes_its_prints_late() -> None:
    builder = BarBuilder([BarSpec("tick", 5)], CALENDAR, TYPES)
    builder.update(simple([100.0, 101.0]), 0)
    assert builder.end_session(MONDAY.close_ns)[0]["n"].tolist() == [2]
    assert len(builder.end_session(MONDAY.close_ns)[0]) == 0
    assert len(builder.update(simple([100.0] * 9, times_s=[10.0] * 9), 2)[0]) == 0
    assert len(builder.end_tape()[0]) == 0


def test_a_marker_of_an_earlier_session_says_nothing() -> None:
    builder = BarBuilder([BarSpec("tick", 5)], CALENDAR, TYPES)
    builder.update(simple([100.0], times_s=[DAY_CHANGE]), 0)
    assert len(builder.end_session(MONDAY.close_ns)[0]) == 0
    assert builder.end_tape()[0]["day"].tolist() == [20240214]


def test_a_day_without_eligible_prints_has_no_bar() -> None:
    builder = BarBuilder([BarSpec("tick", 1)], CALENDAR, TYPES)
    assert len(builder.end_session(MONDAY.close_ns)[0]) == 0
    before_open = simple([100.0], times_s=[-60.0])
    assert len(builder.update(before_open, 0)[0]) == len(builder.end_tape()[0]) == 0


def test_excluded_prints_leave_no_trace() -> None:
    row = (MONDAY.open_ns, 100.0, 1.0, 1, 1, 2, 0, 0, 0, 0)
    out = [
        (*row[:5], 4, *row[6:]),  # an auction
        (*row[:6], 16, *row[7:]),  # suspicious
        (*row[:6], 32, *row[7:]),  # cancelled
        (row[0], math.nan, *row[2:]),
        (row[0], math.inf, *row[2:]),
        (row[0], 0.0, *row[2:]),
        (row[0], 100.0, math.nan, *row[3:]),
        (row[0], 100.0, math.inf, *row[3:]),
        (row[0], 100.0, -1.0, *row[3:]),
        (MONDAY.close_ns, *row[1:]),
        (-(2**63), *row[1:]),
        (2**63 - 1, *row[1:]),
    ]
    bars = bars_of("tick:1", ticks_of([row, *out, row]))
    assert bars["n"].tolist() == [1, 1, 0]
    assert bars["first_tick_seq"].tolist()[:2] == [0, 13]


def test_a_print_without_volume_counts_and_the_vwap_falls_back_to_the_close() -> None:
    bars = bars_of("tick:2", simple([100.0, 102.0], volumes=[0.0, 0.0]), tape_ended=False)
    assert bars["n"].tolist() == [2]
    assert bars["vwap"].tolist() == [102.0]


def test_sides_and_directions_are_counted() -> None:
    rows = [
        (MONDAY.open_ns + i, p, v, g, 1, 2, 0, 0, 0, i)
        for i, (p, v, g) in enumerate([(100.0, 1.0, 1), (101.0, 2.0, -1), (101.0, 4.0, 0), (99.0, 8.0, -1)])
    ]
    (bar,) = bars_of("tick:4", ticks_of(rows), tape_ended=False)
    assert (bar["buy_n"], bar["sell_n"], bar["buy_volume"], bar["sell_volume"]) == (1, 2, 1.0, 10.0)
    assert (bar["up_ticks"], bar["down_ticks"]) == (1, 1)
    assert bar["signed_volume_1s"] == -9.0
    assert bar["realised_var"] == math.log(101 / 100) ** 2 + math.log(99 / 101) ** 2


def test_the_first_print_of_a_bar_is_compared_with_the_last_of_the_bar_before() -> None:
    bars = bars_of("tick:1", simple([100.0, 101.0]), tape_ended=False)
    assert bars["up_ticks"].tolist() == [0, 1]
    assert bars["realised_var"].tolist() == [0.0, math.log(1.01) ** 2]


def test_trailing_windows_leave_out_their_old_edge() -> None:
    times = [0.0, 4.0, 5.0, 9.0]
    (bar,) = bars_of("tick:4", simple([100.0, 101.0, 102.0, 103.0], times_s=times), tape_ended=False)
    assert bar["n_1s"] == 1.0
    assert bar["n_5s"] == 2.0  # the print at 4 s lies exactly 5 s back
    assert bar["n_30s"] == bar["n_5m"] == 4.0
    assert bar["ret_5s"] == math.log(103 / 102)
    assert bar["rv_5s"] == pytest.approx(math.log(102 / 101) ** 2 + math.log(103 / 102) ** 2)
    assert bar["volume_30s"] == 4.0


def test_waits_are_within_the_bar() -> None:
    bars = bars_of("tick:3", simple([100.0] * 6, times_s=[0.0, 1.0, 3.0, 60.0, 61.0, 62.0]), tape_ended=False)
    assert bars["dt_mean_s"] == pytest.approx([1.5, 1.0])
    assert bars["dt_var_s2"] == pytest.approx([0.25, 0.0])


def test_a_time_that_goes_back_counts_at_the_latest_time_seen() -> None:
    (bar,) = bars_of("tick:3", simple([100.0, 101.0, 102.0], times_s=[10.0, 8.0, 10.5]), tape_ended=False)
    assert bar["ts_open_ns"] == MONDAY.open_ns + 10 * SECOND
    assert bar["ts_close_ns"] == MONDAY.open_ns + round(10.5 * SECOND)
    assert bar["n_1s"] == 3.0
    assert bar["dt_mean_s"] == pytest.approx(0.25)


def test_time_bars_close_at_the_end_of_their_interval_and_skip_empty_ones() -> None:
    ticks = simple([100.0, 101.0, 102.0, 103.0], times_s=[0.2, 0.9, 5.0, 5.1])
    bars = bars_of("time:1s", ticks)
    assert bars["n"].tolist() == [2, 2]
    assert bars["ts_close_ns"].tolist() == [MONDAY.open_ns + SECOND, MONDAY.close_ns]
    assert bars["close"].tolist() == [101.0, 103.0]
    assert bars["n_5s"].tolist() == [2.0, 0.0]


def test_concentration_is_over_known_agents() -> None:
    rows = [
        (MONDAY.open_ns + i, 100.0, v, 1, 1, 2, 0, buyer, 0, i)
        for i, (v, buyer) in enumerate([(1.0, 7), (3.0, 8), (2.0, 0), (2.0, 7)])
    ]
    (bar,) = bars_of("tick:4", ticks_of(rows), tape_ended=False)
    assert bar["buy_agent_hhi"] == (9.0 + 9.0) / 36.0
    assert math.isnan(bar["sell_agent_hhi"])


def test_the_three_largest_agents_and_who_added_and_shed_most() -> None:
    """Bought and sold: 1: 9 and 2, 2: 5 and 0, 3: 3 and 3, 4: 2 and 0, 5: 0 and 8, 6: 0 and 4, 7: 0 and 2."""
    trades = [(1, 1, 2.0), (1, 5, 7.0), (2, 5, 1.0), (2, 6, 4.0), (3, 3, 3.0), (4, 7, 2.0), (0, 0, 6.0)]
    rows = [(MONDAY.open_ns + i, 100.0, v, 1, 1, 2, 0, buyer, seller, i) for i, (buyer, seller, v) in enumerate(trades)]
    (bar,) = bars_of("tick:7", ticks_of(rows), tape_ended=False)
    assert bar["buy_agent_top3_share"] == 17.0 / 19.0
    assert bar["sell_agent_top3_share"] == 15.0 / 19.0
    assert bar["agent_net_buy_top3"] == 7.0 + 5.0 + 2.0
    assert bar["agent_net_sell_top3"] == 8.0 + 4.0 + 2.0


def test_without_agents_of_one_side_nothing_nets() -> None:
    rows = [(MONDAY.open_ns, 100.0, 1.0, 1, 1, 2, 0, 7, 0, 0), (MONDAY.open_ns, 100.0, 0.0, 1, 1, 2, 0, 0, 8, 1)]
    (bar,) = bars_of("tick:2", ticks_of(rows), tape_ended=False)
    assert bar["buy_agent_top3_share"] == 1.0
    assert math.isnan(bar["sell_agent_top3_share"])
    assert math.isnan(bar["agent_net_buy_top3"])
    assert math.isnan(bar["agent_net_sell_top3"])


def test_rlp_prints_are_known_by_flag_or_type() -> None:
    kinds = [(2, 0, 1.0), (13, 0, 2.0), (2, int(TickFlag.RLP), 4.0), (13, int(TickFlag.RLP), 8.0)]
    rows = [(MONDAY.open_ns + i, 100.0, v, 1, 1, kind, flags, 0, 0, i) for i, (kind, flags, v) in enumerate(kinds)]
    (bar,) = bars_of("tick:4", ticks_of(rows), tape_ended=False)
    assert (bar["volume"], bar["rlp_volume"]) == (15.0, 14.0)


def test_a_large_print_is_five_times_the_mean_of_the_days_earlier_prints() -> None:
    volumes = [50.0] * 50 + [30.0] * 50  # a mean of 40 after 100 prints, none of them large
    early = simple([100.0] * 201, volumes=[*volumes, 199.0, 208.0, *([1.0] * 98), 1.0])
    bars = bars_of("tick:100", early, tape_ended=False)
    # 199 is below 5 * 40; before the 208 stand 4,199 in 101 prints, five means of which are 207.9.
    assert bars["large_volume"].tolist() == [0.0, 208.0]
    assert bars["large_signed_volume"].tolist() == [0.0, 208.0]


def test_no_print_is_large_before_the_hundredth_of_its_day() -> None:
    volumes = [1.0] * 99 + [1e6]
    one_day = simple([100.0] * 100, volumes=volumes)
    assert bars_of("tick:100", one_day, tape_ended=False)["large_volume"].tolist() == [0.0]
    longer = simple([100.0] * 101, volumes=[1.0] * 100 + [5.0])
    assert bars_of("tick:101", longer, tape_ended=False)["large_volume"].tolist() == [5.0]
    times = [float(i) for i in range(100)] + [DAY_CHANGE]
    two_days = simple([100.0] * 101, volumes=[1.0] * 100 + [5.0], times_s=times)
    assert not bars_of("tick:1", two_days)["large_volume"].any()


def test_a_gap_forgets_the_pending_bar_and_flags_the_next() -> None:
    builder = BarBuilder([BarSpec("tick", 2)], CALENDAR, TYPES)
    builder.update(simple([100.0] * 3), 0)
    builder.reset(after_gap=True)
    bars = builder.update(simple([101.0] * 4, times_s=[9.0, 9.0, 9.0, 9.0]), 10)[0]
    assert bars["seq"].tolist() == [1, 2]
    assert bars["flags"].tolist() == [BarFlag.AFTER_GAP, 0]
    assert bars["first_tick_seq"].tolist() == [10, 12]
    assert bars["n_5m"].tolist() == [2.0, 4.0]


def test_a_new_stream_counts_from_zero_and_may_play_an_old_day() -> None:
    builder = BarBuilder([BarSpec("tick", 2)], CALENDAR, TYPES)
    builder.update(simple([100.0] * 3, times_s=[DAY_CHANGE] * 3), 0)
    builder.new_stream()
    bars = builder.update(simple([100.0] * 2), 0)[0]
    assert bars["seq"].tolist() == [0]
    assert bars["flags"].tolist() == [BarFlag.FIRST_OF_DAY]


def test_bars_carry_the_book_position_of_their_last_print() -> None:
    builder = BarBuilder([BarSpec("tick", 2)], CALENDAR, TYPES)
    builder.update(simple([100.0]), 0, book_seq=5)
    assert builder.update(simple([100.0, 100.0]), 1, book_seq=9)[0]["book_seq"].tolist() == [9]
    assert builder.end_session(MONDAY.close_ns)[0]["book_seq"].tolist() == [9]


def test_results_are_finite_but_for_the_figures_by_agent() -> None:
    bars = bars_of("tick:7", seeded(20_000, seed=2))
    finite = [name for name in bars.dtype.names if "agent" not in name]
    assert all(np.isfinite(bars[name]).all() for name in finite)


def test_bars_of_a_prefix_are_a_prefix_of_the_bars() -> None:
    tape = seeded(5_000, seed=4)
    whole = bars_of("volume:100", tape)
    for stop in (1, 999, 2_500, 4_999):
        part = bars_of("volume:100", tape.slice(0, stop), tape_ended=False)
        assert part.tobytes() == whole[: len(part)].tobytes()


@pytest.mark.parametrize(
    "other",
    [
        BarBuilder([BarSpec("tick", 6)], CALENDAR, TYPES),
        BarBuilder([BarSpec("tick", 5), BarSpec("tick", 6)], CALENDAR, TYPES),
        BarBuilder([BarSpec("tick", 5)], CALENDAR, (2, 3)),
        BarBuilder([BarSpec("tick", 5)], SessionCalendar(timezone="UTC", open="09:00", close="17:00"), TYPES),
    ],
)
def test_a_snapshot_of_another_configuration_is_refused(other: BarBuilder) -> None:
    builder = BarBuilder([BarSpec("tick", 5)], CALENDAR, TYPES)
    builder.update(simple([100.0] * 7), 0)
    with pytest.raises(SnapshotMismatch, match="bar snapshot of another configuration: expected"):
        other.restore(builder.snapshot())


def test_damaged_snapshots_are_refused() -> None:
    builder = BarBuilder([BarSpec("tick", 5)], CALENDAR, TYPES)
    builder.update(simple([100.0] * 7), 0)
    blob = builder.snapshot()
    for damaged in (b"", b"nonsense", blob[:6] + b"\x09" + blob[7:], blob[:-4], blob[:7] + b"xx"):
        with pytest.raises(SnapshotMismatch, match="expected"):
            builder.restore(damaged)
    builder.restore(blob)


def test_a_snapshot_holds_no_more_than_later_bars_need() -> None:
    builder = BarBuilder([BarSpec("tick", 5)], CALENDAR, TYPES)
    builder.update(simple([100.0] * 3_000), 0)
    assert len(builder.snapshot()) < 5_000


def test_columns_in_another_layout_give_the_same_bars() -> None:
    tape = seeded(3_000, seed=6)
    twisted = tape._replace(price=np.repeat(tape.price, 2)[::2], volume=tape.volume.astype(">f8"))
    assert bars_of("tick:9", twisted).tobytes() == bars_of("tick:9", tape).tobytes()


def test_specifications_must_be_given_and_differ() -> None:
    with pytest.raises(ValueError, match="one or more different"):
        BarBuilder([], CALENDAR, TYPES)
    with pytest.raises(ValueError, match="one or more different"):
        BarBuilder([BarSpec("tick", 5), BarSpec("tick", 5)], CALENDAR, TYPES)
    with pytest.raises(ValueError, match="bar trade types"):
        BarBuilder([BarSpec("tick", 5)], CALENDAR, (300,))
