"""State over the topics."""

from __future__ import annotations

import pytest

from tapelab.api.live import Live
from tapelab.api.rates import Latencies, Rate
from tapelab.common import topics
from tapelab.common.pipeline import Pipeline
from tests.contracts import records as golden
from tests.services.api.tape import bar, dead, record, signal, signal_records, ticks

NOW = 1_763_560_000_000_000_000
SECOND = 1_000_000_000


@pytest.fixture
def live() -> Live:
    return Live(Pipeline(bars=("tick:50", "volume:2000"), features=()), NOW)


def test_ticks_are_counted_by_batch_and_the_last_price_is_kept(live):
    live.take([record(topics.TICKS, ticks(0, 10)), record(topics.TICKS, ticks(10, 5, price=200.0), offset=1)], NOW)
    state = live.symbols["WINZ26"]
    assert (state.ticks, state.last_price, live.totals[topics.TICKS]) == (15, 204.0, 15)


def test_what_was_written_twice_is_counted_once(live):
    batch, again, overlapping = ticks(0, 10), ticks(0, 10), ticks(5, 10)
    live.take([record(topics.TICKS, value, offset=n) for n, value in enumerate((batch, again, overlapping))], NOW)
    live.take([record(topics.SIGNALS, signal(0)), record(topics.SIGNALS, signal(0), offset=1)], NOW)
    assert (live.symbols["WINZ26"].ticks, len(live.signals)) == (15, 1)


def test_a_hole_that_nothing_explains_stops_the_symbol_and_says_where(live):
    live.take([record(topics.TICKS, ticks(0, 10)), record(topics.TICKS, ticks(20, 5), offset=7)], NOW)
    assert live.symbols["WINZ26"].ticks == 10
    (message,) = live.problems.values()
    assert "md.ticks.v1[0]@7" in message
    live.take([record(topics.TICKS, ticks(0, 3, stream=2), offset=8)], NOW)
    assert (live.symbols["WINZ26"].ticks, live.problems) == (13, {})


def test_a_poison_record_explains_the_hole_it_leaves(live):
    live.take(
        [
            record(topics.TICKS, ticks(0, 10)),
            record(topics.TICKS, b"\xc1", offset=1),
            record(topics.TICKS, ticks(20, 5), offset=2),
        ],
        NOW,
    )
    assert (live.symbols["WINZ26"].ticks, live.problems) == (15, {})


def test_bars_are_kept_per_specification_and_begin_anew_with_a_stream(live):
    first = live.take([record(topics.BARS, bar(n), offset=n) for n in range(3)], NOW)
    assert first.restarted == {("WINZ26", "tick:50")}
    live.take([record(topics.BARS, bar(0, spec="volume:2000"), offset=3)], NOW)
    live.take([record(topics.BARS, bar(0, spec="dollar:1.0"), offset=4)], NOW)
    assert [item["seq"] for item in live.bars("WINZ26", "tick:50")] == ["0", "1", "2"]
    assert (len(live.bars("WINZ26", "volume:2000")), live.bars("WINZ26", "dollar:1.0")) == (1, [])
    fresh = live.take([record(topics.BARS, bar(0, stream=2), offset=5)], NOW)
    assert fresh.restarted == {("WINZ26", "tick:50")}
    assert [item["stream"] for item in live.bars("WINZ26", "tick:50")] == ["2"]
    assert live.totals[topics.BARS] == 6


def test_rings_are_bounded(live):
    live.take(signal_records(0, 700), NOW)
    assert (len(live.signals), live.signals[-1]["seq"], live.totals[topics.SIGNALS]) == (500, "699", 700)


def test_latency_ends_at_receipt_and_at_the_last_hop_for_what_was_there_before(live):
    new = record(topics.SIGNALS, signal(0), hops={"ingest": NOW + SECOND, "inference": NOW + 2 * SECOND})
    old = record(topics.SIGNALS, signal(1), hops={"ingest": NOW - 9 * SECOND, "inference": NOW - 8 * SECOND})
    fresh = live.take([new, old], NOW + 3 * SECOND)
    assert fresh.latencies_ms == [2000.0, 1000.0]
    assert fresh.hops_ms == [1000.0]  # nobody was there when the old one was published
    assert live.latencies.summary() == (1000.0, 2000.0, 2000.0, 2)


def test_a_signal_without_stamps_has_no_latency(live):
    assert live.take(signal_records(0, 1), NOW).latencies_ms == []


def test_dead_letters_are_counted_once_each(live):
    live.take([dead(topics.TICKS, "bars", 5), dead(topics.TICKS, "bars", 5), dead(topics.TICKS, "sink", 5)], NOW)
    live.take([record(topics.TICKS + ".dlq", b"without origin")] * 2, NOW)
    assert live.dead[topics.TICKS + ".dlq"] == 4


def test_events_name_the_experiment_that_changed(live):
    assert live.take([record(topics.EVENTS, golden.event())], NOW).subjects == {"exp-1"}


def test_a_rate_counts_whole_seconds_by_when_they_were_published():
    rate = Rate()
    rate.add(NOW - 100 * SECOND, 1_000_000)
    for second in range(-3, 1):
        rate.add(NOW + second * SECOND, 50)
    assert rate.per_s(NOW) == 30.0
    assert rate.per_s(NOW + 60 * SECOND) == 0.0


def test_percentiles_are_of_the_newest_values_by_nearest_rank():
    latencies = Latencies(keep=100)
    assert latencies.summary() == (None, None, None, 0)
    for value in [9999.0, *range(1, 101)]:
        latencies.add(value)
    assert latencies.summary() == (50, 95, 99, 101)
