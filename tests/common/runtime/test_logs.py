"""Log lines: JSON, with the trace of the record they are about, and not too many of them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest

from tapelab.common.clock import ManualClock
from tapelab.common.runtime.headers import TRACE, traceparent
from tapelab.common.runtime.logs import JsonFormatter, Throttle
from tapelab.common.runtime.record_log import BURST, EVERY_S, RecordLog
from tapelab.common.runtime.stage import Dead, Record, Step


def record(offset: int) -> Record:
    headers = ((TRACE, traceparent("WINZ26", 3, offset, offset + 1)),)
    return Record("md.ticks.v1", 2, offset, b"WINZ26", b"", headers)


def trace(offset: int) -> str:
    return traceparent("WINZ26", 3, offset, offset + 1)[3:35].decode()


def fields(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [r.fields for r in caplog.records]  # type: ignore[attr-defined]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> RecordLog:
    caplog.set_level(logging.INFO)
    return RecordLog(logging.getLogger("test"), clock)


def test_a_line_is_json_in_utc_with_its_fields() -> None:
    entry = logging.LogRecord("tapelab.bars", logging.WARNING, "x.py", 1, "gone: %s", ("broker",), None)
    entry.created, entry.msecs = 1_700_000_000.25, 250.0
    entry.fields = {"trace_id": "ab", "partitions": [1]}
    line = json.loads(JsonFormatter("bars").format(entry))
    assert datetime.fromisoformat(line["time"]) == datetime.fromtimestamp(1_700_000_000.25, UTC)
    assert line["time"] == "2023-11-14T22:13:20.250Z"
    assert (line["level"], line["service"], line["message"]) == ("WARNING", "bars", "gone: broker")
    assert (line["trace_id"], line["partitions"]) == ("ab", [1])


def test_a_failure_brings_its_traceback() -> None:
    try:
        raise ValueError("odd")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    entry = logging.LogRecord("tapelab.bars", logging.ERROR, "x.py", 1, "failed", (), info)
    assert "ValueError: odd" in json.loads(JsonFormatter("bars").format(entry))["traceback"]


def test_a_dead_letter_names_its_place_and_its_trace(log: RecordLog, caplog: pytest.LogCaptureFixture) -> None:
    log.step([record(6), record(7)], Step([], [Dead(1, "cannot be decoded")], {}, {}))
    (said,) = fields(caplog)
    assert said == {
        "record": "md.ticks.v1[2]@7",
        "trace_id": trace(7),
        "reason": "cannot be decoded",
        "not_logged": 0,
    }


def test_a_halt_is_traced_by_the_place_its_message_names(log: RecordLog, caplog: pytest.LogCaptureFixture) -> None:
    message = "WINZ26 halted at md.ticks.v1[2]@7: expected seq 4, got 9"
    log.halted("WINZ26", message, [record(6), record(7), record(77)])
    assert fields(caplog) == [{"symbol": "WINZ26", "record": "md.ticks.v1[2]@7", "trace_id": trace(7)}]
    log.halted("WINZ26", "WINZ26 halted earlier", [record(6)])
    assert fields(caplog)[1] == {"symbol": "WINZ26"}


def test_a_gap_says_between_which_records_it_lies(log: RecordLog, caplog: pytest.LogCaptureFixture) -> None:
    log.step([record(6), record(7)], Step([], [], {}, {"gaps": 1}))
    log.step([record(8)], Step([], [], {}, {"gaps": 0, "ticks_dropped": 4}))
    (said,) = fields(caplog)
    assert (said["gaps"], said["first"], said["last"]) == (1, "md.ticks.v1[2]@6", "md.ticks.v1[2]@7")
    assert said["trace_ids"] == sorted([trace(6), trace(7)])


def test_a_flood_of_poison_does_not_fill_the_log(
    log: RecordLog, caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    for offset in range(1000):
        log.step([record(offset)], Step([], [Dead(0, "bad")], {}, {}))
    assert len(caplog.records) == BURST
    clock.advance(EVERY_S + 0.001)
    log.step([record(1000)], Step([], [Dead(0, "bad")], {}, {}))
    assert fields(caplog)[-1]["not_logged"] == 1000 - BURST


def test_a_throttle_fills_up_again(clock: ManualClock) -> None:
    throttle = Throttle(clock, burst=2, every_s=5)
    assert [throttle.admit() for _ in range(4)] == [0, 0, None, None]
    clock.advance(60)
    assert [throttle.admit() for _ in range(3)] == [2, 0, None]
