"""The bars stage makes of a log of tick batches what the offline computation makes of the tape."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapelab.bars.stage import BarsStage
from tapelab.common.codec import encode
from tapelab.common.errors import ConfigError, RecoveryError
from tapelab.common.instruments import Instrument, Instruments, Session
from tapelab.common.pipeline import Pipeline, bar_lineage
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.bars import Bar, bars_to_array
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.topics import BARS, TICKS
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.dtypes import BarFlag
from tapelab.quant.ticks import Ticks
from tests.quant.bars.tapes import CALENDAR, MONDAY, TYPES, seeded, sessions, simple

pytestmark = pytest.mark.slow

SESSION = Session(timezone="America/Sao_Paulo", open="09:00", close="17:00", holidays=("2024-02-13",))
WIN = Instrument(
    root="WIN",
    symbols=r"WIN[A-Z]\d\d",
    exchange="B3",
    currency="BRL",
    tick_size=5.0,
    multiplier=0.2,
    session="b3",
    bar_trade_types=TYPES,
)
INSTRUMENTS = Instruments(sessions={"b3": SESSION}, instruments=(WIN,))
PIPELINE = Pipeline(bars=("tick:7", "volume:50", "time:10m"), features=())
TAPE = seeded(2_000, seed=9)


def new_stage() -> BarsStage:
    return BarsStage(0, PIPELINE, INSTRUMENTS)


class Log:
    """Records in the order in which a producer wrote them."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def raw(self, value: bytes | None, key: str = "WINZ24") -> None:
        self.records.append(Record(TICKS, 0, len(self.records), key.encode(), value))

    def batch(self, ticks: Ticks, first_seq: int, *, symbol: str = "WINZ24", stream: int = 1, end_ns: int = 0) -> None:
        batch = TickBatch.pack(
            ticks,
            symbol=symbol,
            exchange="B3",
            stream=stream,
            lineage="cafe",
            first_seq=first_seq,
            session_end_ns=end_ns,
        )
        self.raw(encode(batch), symbol)

    def marker(self, next_seq: int, end_ns: int, **options: Any) -> None:
        self.batch(Ticks.empty(), next_seq, end_ns=end_ns, **options)


def bars_of(step: Any, spec: str, symbol: str = "WINZ24", stream: int = 1) -> list[Bar]:
    records = [output.record for output in step.outputs]
    return [r for r in records if (r.spec, r.symbol, r.stream) == (spec, symbol, stream)]


def offline(spec: str, tape: Ticks = TAPE, **options: Any) -> bytes:
    return compute_bars(tape, BarSpec.parse(spec), CALENDAR, TYPES, **options).tobytes()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_split_repetition_and_restart_gives_the_offline_bars(data: st.DataObject) -> None:
    log = Log()
    written = 0
    while written < TAPE.n:
        first = max(0, written - data.draw(st.sampled_from([0, 0, 0, 1, 40, 5_000])))
        stop = min(TAPE.n, first + data.draw(st.integers(1, 700)))
        log.batch(TAPE.slice(first, stop), first)
        written = max(written, stop)
    for _ in range(data.draw(st.integers(1, 3))):
        log.marker(TAPE.n, sessions(3)[-1].close_ns)
    stage = new_stage()
    found: dict[str, list[Bar]] = {spec: [] for spec in PIPELINE.bars}
    position = 0
    while position < len(log.records):
        stop = data.draw(st.integers(position + 1, len(log.records)))
        step = stage.process(log.records[position:stop])
        assert not step.dead
        assert not step.halts
        for output in step.outputs:
            assert isinstance(output.record, Bar)
            found[_as_configured(output.record.spec)].append(output.record)
        position = stop
        if data.draw(st.booleans()):
            blob = stage.freeze()()
            stage = new_stage()
            stage.restore(blob)
            assert stage.freeze()() == blob
    for spec, bars in found.items():
        assert bars_to_array(bars).tobytes() == offline(spec)


def _as_configured(spec: str) -> str:
    return {str(BarSpec.parse(text)): text for text in PIPELINE.bars}[spec]


def test_a_frozen_state_is_of_its_moment_whatever_follows() -> None:
    log = Log()
    for first in range(0, TAPE.n, 400):
        log.batch(TAPE.slice(first, first + 400), first)
    log.marker(TAPE.n, sessions(3)[-1].close_ns)
    stage = new_stage()
    for record in log.records:
        frozen = stage.freeze()
        at_once = stage.freeze()()
        stage.process([record])
        assert frozen() == at_once


def test_bars_come_by_record_then_specification_and_name_their_cause_and_lineage() -> None:
    log = Log()
    log.batch(TAPE.slice(0, 300), 0)
    log.batch(TAPE.slice(300, 600), 300)
    step = new_stage().process(log.records)
    specs = [str(BarSpec.parse(text)) for text in PIPELINE.bars]
    order = [(o.cause, specs.index(o.record.spec), o.record.seq) for o in step.outputs if isinstance(o.record, Bar)]
    assert order == sorted(order)
    assert {cause for cause, _, _ in order} == {0, 1}
    assert all(output.topic == BARS for output in step.outputs)
    for spec in specs:
        bars = bars_of(step, spec)
        assert [bar.seq for bar in bars] == list(range(len(bars)))
        assert {bar.lineage for bar in bars} == {bar_lineage(spec, WIN, SESSION, "cafe")}
        assert {(bar.exchange, bar.tick_lineage) for bar in bars} == {("B3", "cafe")}


def test_symbols_do_not_touch_each_other() -> None:
    log = Log()
    for first in range(0, TAPE.n, 100):
        log.batch(TAPE.slice(first, first + 100), first)
        log.batch(TAPE.slice(first, first + 100), first, symbol="WING25")
    step = new_stage().process(log.records)
    for symbol in ("WINZ24", "WING25"):
        assert bars_to_array(bars_of(step, "volume:50", symbol)).tobytes() == offline("volume:50", tape_ended=False)


def test_a_poison_record_is_dead_and_the_gap_it_leaves_is_flagged() -> None:
    log = Log()
    log.batch(simple([100.0] * 10), 0)
    log.raw(b"\xc1 not msgpack")
    log.batch(simple([100.0] * 14, times_s=[60.0] * 14), 20)
    step = new_stage().process(log.records)
    assert [dead.cause for dead in step.dead] == [1]
    assert "expected a record of schema md.ticks.v1" in step.dead[0].reason
    bars = bars_of(step, "tick:7")
    assert [bar.seq for bar in bars] == [0, 1, 2]
    assert [bar.flags for bar in bars] == [BarFlag.FIRST_OF_DAY, BarFlag.AFTER_GAP, 0]
    assert [bar.first_tick_seq for bar in bars] == [0, 20, 27]
    assert step.counts == {"gaps": 1}


def test_an_unexplained_gap_halts_the_symbol_alone_until_a_new_stream() -> None:
    log = Log()
    log.batch(simple([100.0] * 7), 0)
    log.batch(simple([100.0] * 7), 8)
    log.batch(simple([100.0] * 7), 0, symbol="WING25")
    log.batch(simple([100.0] * 7), 15)
    log.batch(simple([100.0] * 7), 0, stream=2)
    stage = new_stage()
    step = stage.process(log.records)
    assert list(step.halts) == ["WINZ24"]
    assert "md.ticks.v1[0]@1: expected seq 7 of stream 1, got 8" in step.halts["WINZ24"]
    assert step.counts == {"ticks_halted": 2}
    assert len(bars_of(step, "tick:7", "WING25")) == 1
    assert [bar.seq for bar in bars_of(step, "tick:7", stream=2)] == [0]


def test_an_older_stream_is_dropped() -> None:
    log = Log()
    log.batch(simple([100.0] * 7), 0, stream=5)
    log.batch(simple([100.0] * 7), 7, stream=4)
    step = new_stage().process(log.records)
    assert [output.cause for output in step.outputs] == [0]
    assert step.counts == {"ticks_dropped": 1}


def test_a_session_marker_closes_the_day_once() -> None:
    log = Log()
    log.batch(simple([100.0] * 3), 0)
    log.marker(3, MONDAY.close_ns)
    log.marker(3, MONDAY.close_ns)
    step = new_stage().process(log.records)
    assert [(o.cause, o.record.n) for o in step.outputs if isinstance(o.record, Bar)] == [(1, 3)] * 3
    assert all(o.record.flags & BarFlag.SESSION_END for o in step.outputs if isinstance(o.record, Bar))


def test_a_repeated_marker_of_the_past_is_dropped() -> None:
    log = Log()
    log.batch(simple([100.0] * 3), 0)
    log.batch(simple([100.0] * 3, times_s=[5.0] * 3), 3)
    log.marker(3, MONDAY.close_ns)
    step = new_stage().process(log.records)
    assert step.outputs == []
    assert step.counts == {"ticks_dropped": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"symbol": "XYZ"}, "under another key"),
        ({"price": b"\x00" * 9}, "column price has the wrong length"),
        ({"n": 2}, "has the wrong length"),
        ({"first_seq": 2**63}, "out of range"),
        ({"first_seq": -1}, "out of range"),
        ({"book_seq": 2**63}, "out of range"),
    ],
)
def test_a_record_that_cannot_be_right_is_dead_and_moves_nothing(change: dict[str, Any], reason: str) -> None:
    log = Log()
    log.batch(simple([100.0] * 7), 0)
    good = msgspec.msgpack.decode(log.records[0].value or b"", type=TickBatch)
    bad = msgspec.structs.replace(good, **change)
    log.records.insert(0, Record(TICKS, 0, 0, b"WINZ24", encode(bad)))
    step = new_stage().process(log.records)
    assert [dead.cause for dead in step.dead] == [0]
    assert reason in step.dead[0].reason
    assert len(bars_of(step, "tick:7")) == 1


def test_a_symbol_without_an_instrument_is_dead() -> None:
    log = Log()
    log.batch(simple([100.0] * 7), 0)
    stray = msgspec.structs.replace(msgspec.msgpack.decode(log.records[0].value or b"", type=TickBatch), symbol="XYZ")
    (dead,) = new_stage().process([Record(TICKS, 0, 0, b"XYZ", encode(stray))]).dead
    assert "no instrument for symbol" in dead.reason


def test_a_marker_that_names_no_close_is_dead() -> None:
    log = Log()
    log.marker(0, MONDAY.close_ns - 1)
    log.raw(None)
    step = new_stage().process(log.records)
    assert [dead.cause for dead in step.dead] == [0, 1]
    assert "expected the close of a session" in step.dead[0].reason


def test_prints_with_impossible_times_and_numbers_do_no_harm() -> None:
    log = Log()
    wild = simple([100.0] * 9)._replace(
        ts_event_ns=np.array([-(2**63), 2**63 - 1, 2**62, -1, 0, 1, *[MONDAY.open_ns] * 3]),
        price=np.array([1e308, np.nan, -np.inf, *[100.0] * 6]),
    )
    log.batch(wild, 0)
    step = new_stage().process(log.records)
    assert step.dead == []


def test_a_snapshot_of_another_configuration_is_refused_with_both_named() -> None:
    log = Log()
    log.batch(TAPE.slice(0, 100), 0)
    stage = new_stage()
    stage.process(log.records)
    blob = stage.freeze()()
    others = [
        BarsStage(1, PIPELINE, INSTRUMENTS),
        BarsStage(0, Pipeline(bars=("tick:8",), features=()), INSTRUMENTS),
        BarsStage(0, PIPELINE, msgspec.structs.replace(INSTRUMENTS, instruments=())),
        BarsStage(
            0,
            PIPELINE,
            msgspec.structs.replace(INSTRUMENTS, instruments=(msgspec.structs.replace(WIN, bar_trade_types=(2,)),)),
        ),
    ]
    for other in others:
        with pytest.raises(RecoveryError, match=r"bars snapshot .*expected .*, got .*; let the stage start"):
            other.restore(blob)
    for damaged in (b"", b"\x00", blob[:-5]):
        with pytest.raises(RecoveryError, match="bars snapshot"):
            new_stage().restore(damaged)


@pytest.mark.parametrize("bars", [(), ("tick:7", "tick:7.0"), ("range:5",)])
def test_a_pipeline_without_usable_bars_is_refused(bars: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"correct bars in config/pipeline\.yaml"):
        BarsStage(0, Pipeline(bars=bars, features=()), INSTRUMENTS)


def test_warming_up_leaves_no_trace() -> None:
    stage = new_stage()
    stage.warm_up()
    assert stage.freeze()() == new_stage().freeze()()
