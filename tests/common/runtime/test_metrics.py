"""What a stage exports, and the headers it reads it from."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from tapelab.common.clock import ManualClock
from tapelab.common.runtime.headers import INGEST, TRACE, carried, stamp, stamps, trace_id, traceparent
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.stage import Dead, Output, Record, Step
from tapelab.common.schemas.features import FeatureVector

NOW = 1_700_000_000_000_000_000
TRACED = (TRACE, traceparent("WINZ26", 3, 0, 512))


def record(offset: int, *, ingest_ms: int | None = None, bars_ms: int | None = None) -> Record:
    headers = []
    if ingest_ms is not None:
        headers += [stamp(INGEST, NOW - ingest_ms * 1_000_000), TRACED]
    if bars_ms is not None:
        headers.append(stamp("bars", NOW - bars_ms * 1_000_000))
    return Record("md.bars.v1", 2, offset, b"WINZ26", b"", tuple(headers))


def output(cause: int, ts_event_ns: int = 5_000_000_000) -> Output:
    vector = FeatureVector(
        **{
            name: {"ts_event_ns": ts_event_ns, "symbol": "WINZ26", "values": b""}.get(name, 0)
            for name in FeatureVector.__struct_fields__
        }
    )
    return Output("ml.features.v1", vector, cause)


class Stage:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.clock = ManualClock(NOW)
        self.metrics = StageMetrics("features", self.registry, self.clock)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"tapelab_{name}", {"stage": "features", **labels})


def test_a_step_is_counted() -> None:
    stage = Stage()
    counts = {"bars_dropped": 2, "duplicates": 3, "bars_halted": 4, "gaps": 1, "bars_not_live": 7}
    records = [record(0, ingest_ms=400, bars_ms=100), record(1, ingest_ms=40, bars_ms=10)]
    outputs = [output(0), output(1), output(1, ts_event_ns=9_500_000_000)]
    stage.metrics.step(records, Step(outputs, [Dead(0, "bad")], {}, counts), NOW)
    for name, expected in {
        "records_in": 2,
        "records_out": 3,
        "records_dead": 1,
        "records_seen": 5,
        "records_halted": 4,
        "gaps": 1,
    }.items():
        assert stage.value(f"{name}_total") == expected, name
    assert stage.value("stage_events_total", kind="bars_not_live") == 7
    assert stage.value("watermark_seconds", partition="2") == 9.5
    assert stage.value("watermark_delay_seconds", partition="2") == pytest.approx(0.04)
    assert stage.value("since_ingest_seconds_count") == 3
    assert stage.value("since_ingest_seconds_sum") == pytest.approx(0.4 + 2 * 0.04)
    assert stage.value("hop_seconds_sum") == pytest.approx(0.1 + 2 * 0.01)


def test_what_a_recovery_computes_again_is_no_latency() -> None:
    stage = Stage()
    stage.metrics.step([record(0, ingest_ms=90_000)], Step([output(0)], [], {}, {}), NOW, adopted=1)
    assert stage.value("since_ingest_seconds_count") == 0
    assert stage.value("records_adopted_total") == 1
    assert stage.value("watermark_seconds", partition="2") == 5.0


def test_a_clock_that_jumped_back_gives_no_negative_latency() -> None:
    stage = Stage()
    stage.metrics.step([record(0, ingest_ms=-500, bars_ms=-400)], Step([output(0)], [], {}, {}), NOW)
    assert stage.value("since_ingest_seconds_sum") == 0
    assert stage.value("watermark_delay_seconds", partition="2") == 0


def test_records_without_stamps_are_counted_all_the_same() -> None:
    stage = Stage()
    stage.metrics.step([record(0)], Step([output(0)], [], {}, {}), NOW)
    stage.metrics.step([], Step([], [], {}, {}), NOW)
    assert stage.value("records_out_total") == 1
    assert stage.value("hop_seconds_count") == 0


def test_snapshot_age_is_that_of_what_no_snapshot_holds() -> None:
    stage = Stage()
    stage.metrics.gained(2)
    stage.clock.advance(4)
    assert stage.value("snapshot_age_seconds", partition="2") == 0
    for seconds in (0, 3):
        stage.clock.advance(seconds)
        stage.metrics.step([record(0)], Step([], [], {}, {}), NOW)
    stage.clock.advance(2)
    assert stage.value("snapshot_age_seconds", partition="2") == 5
    stage.metrics.snapshot(2, 1000, 0.02)
    stage.clock.advance(60)
    assert stage.value("snapshot_age_seconds", partition="2") == 0
    assert stage.value("snapshot_bytes", partition="2") == 1000
    assert stage.value("snapshot_seconds_sum") == 0.02


def test_a_lost_partition_leaves_no_series() -> None:
    stage = Stage()
    for partition in (1, 2):
        stage.metrics.gained(partition)
        stage.metrics.lag(partition, 5)
        stage.metrics.halted(partition, 0)
    stage.metrics.step([record(0, ingest_ms=1)], Step([output(0)], [], {}, {}), NOW)
    stage.metrics.lost(2)
    assert stage.value("lag_records", partition="1") == 5
    names = ("lag_records", "halted_symbols", "watermark_seconds", "watermark_delay_seconds", "snapshot_age_seconds")
    assert {stage.value(name, partition="2") for name in names} == {None}
    stage.metrics.gained(2)
    assert stage.value("snapshot_age_seconds", partition="2") == 0
    stage.metrics.begin()
    assert {stage.value(name, partition=p) for name in names for p in "12"} == {None}


def test_recoveries_add_up() -> None:
    stage = Stage()
    stage.metrics.recovered(0, 1.5, 300)
    stage.metrics.recovered(2, 0.5, 20)
    assert stage.value("recovery_seconds") == 0.5
    assert stage.value("recoveries_total") == 2
    assert stage.value("replayed_records_total") == 320


def test_the_trace_is_a_digest_of_the_prints_in_w3c_form() -> None:
    version, trace, span, flags = traceparent("WINZ26", 3, 0, 512).decode().split("-")
    assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")
    assert int(trace, 16)
    assert int(span, 16)
    assert traceparent("WINZ26", 3, 0, 512) == TRACED[1]
    others = [("WINZ26", 4, 0, 512), ("WINZ26", 3, 512, 600), ("WDOZ26", 3, 0, 512), ("WINZ26", 3, 0, 0)]
    assert len({traceparent(*other)[3:35] for other in others} | {trace.encode()}) == 5


def test_trace_and_stamps_travel_on_and_nothing_else_does() -> None:
    first = [stamp(INGEST, NOW), TRACED, ("x", b"1"), ("dlq-reason", b"no")]
    after = carried(carried(first, "bars", NOW + 5), "features", NOW + 9)
    assert after == [stamp(INGEST, NOW), TRACED, stamp("bars", NOW + 5), stamp("features", NOW + 9)]
    assert stamps(after) == (NOW, NOW + 9)
    assert trace_id(after) == TRACED[1][3:35].decode()
    assert stamps([("h-ingest", b"soon")]) == (None, None)
    assert trace_id([]) == ""
