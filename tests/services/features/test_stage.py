"""The features stage over in-memory records: live equals offline, gaps and poison are handled by the rule."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.common.codec import decode, encode
from tapelab.common.errors import ConfigError, RecoveryError
from tapelab.common.instruments import Instrument, Instruments, Session
from tapelab.common.pipeline import Pair, Pipeline, feature_lineage
from tapelab.common.runtime.memory import MemoryHost, MemoryLog
from tapelab.common.runtime.stage import Record, Step
from tapelab.common.schemas.bars import Bar
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.topics import BARS, FEATURES, partition_of
from tapelab.features.stage import FeaturesStage
from tapelab.quant.dtypes import BarFlag
from tapelab.quant.features import FEATURE_SETS, compute_features
from tests.quant.features.bars import make_bars, renumbered

CORE = FEATURE_SETS["core"]
TICKS = {"AAA": 0.5, "BBB": 0.25}
PIPELINE = Pipeline(bars=("tick:50", "volume:2000"), features=(Pair(bars="tick:50", feature_set="core"),))
EVERY_SET = Pipeline(
    bars=("tick:50", "volume:2000"), features=tuple(Pair(bars="tick:50", feature_set=name) for name in FEATURE_SETS)
)


def instruments(tick_size: float = 0.5) -> Instruments:
    def instrument(symbol: str, tick: float) -> Instrument:
        return Instrument(
            root=symbol, symbols=symbol, exchange="X", currency="USD", tick_size=tick, multiplier=1.0, session="day"
        )

    return Instruments(
        sessions={"day": Session(timezone="UTC", open="09:00", close="18:00")},
        instruments=(instrument("AAA", tick_size), instrument("BBB", TICKS["BBB"])),
    )


def new_stage(pipeline: Pipeline = PIPELINE) -> FeaturesStage:
    return FeaturesStage(0, pipeline, instruments())


def records_of(rows: Any, symbol: str = "AAA", *, stream: int = 1, spec: str = "tick:50") -> list[Bar]:
    return [
        Bar.from_row(
            row, symbol=symbol, exchange="X", spec=spec, stream=stream, lineage=f"bars-{spec}", tick_lineage="t"
        )
        for row in rows
    ]


def as_records(bars: list[Bar | bytes], key: str = "AAA") -> list[Record]:
    return [
        Record(
            BARS, 0, i, (key if isinstance(b, bytes) else b.symbol).encode(), b if isinstance(b, bytes) else encode(b)
        )
        for i, b in enumerate(bars)
    ]


def vectors(step: Step, symbol: str = "AAA") -> list[FeatureVector]:
    found = [output.record for output in step.outputs if output.record.symbol == symbol]
    return [v for v in found if isinstance(v, FeatureVector)]


def matrix(found: list[FeatureVector]) -> Any:
    return np.array([v.array() for v in found])


def interleaved(seed: int, *groups: list[Bar]) -> list[Bar]:
    """The groups shuffled into one log, each in its own order."""
    order = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(groups)), [len(g) for g in groups]))
    iterators = [iter(group) for group in groups]
    return [next(iterators[i]) for i in order]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 600), max_size=5), st.integers(0, 600))
def test_live_equals_offline_for_any_split_and_across_a_restart(seed: int, cuts: list[int], restart: int) -> None:
    tapes = {s: renumbered(make_bars(seed + i, 110 + 20 * i, days=2)) for i, s in enumerate(TICKS)}
    groups = [records_of(rows, symbol) for symbol, rows in tapes.items()]
    records = as_records(interleaved(seed, *groups, records_of(tapes["AAA"][:50], spec="volume:2000")))
    stage, steps = new_stage(), []
    edges = sorted({0, *(min(c, len(records)) for c in (*cuts, restart)), len(records)})
    for start, stop in itertools.pairwise(edges):
        if start == restart:
            blob, stage = stage.freeze()(), new_stage()
            stage.restore(blob)
            assert stage.freeze()() == blob
        step = stage.process(records[start:stop])
        causes = [output.cause for output in step.outputs]
        assert causes == sorted(causes)
        for output in step.outputs:
            bar = decode(BARS, records[start + output.cause].value)
            assert (bar.symbol, bar.seq) == (output.record.symbol, output.record.bar_seq)
        steps.append(step)
    for symbol, rows in tapes.items():
        found = [v for step in steps for v in vectors(step, symbol)]
        offline = compute_features(rows, CORE, TICKS[symbol])
        assert matrix(found).tobytes() == offline.values.tobytes()
        assert [v.warm for v in found] == offline.warm.tolist()
        assert [v.seq for v in found] == [v.bar_seq for v in found] == rows["seq"].tolist()
    assert sum(step.counts.get("bars_not_live", 0) for step in steps) == 50


def test_every_feature_set_is_live_as_it_is_offline_across_a_restart() -> None:
    rows = renumbered(make_bars(8, 130, days=2))
    records, first, second = as_records(records_of(rows)), new_stage(EVERY_SET), new_stage(EVERY_SET)
    found = vectors(first.process(records[:77]))
    second.restore(first.freeze()())
    found += [v for i in range(77, len(records)) for v in vectors(second.process(records[i : i + 1]))]
    for feature_set in FEATURE_SETS.values():
        mine = [v for v in found if v.feature_set_id == feature_set.id]
        offline = compute_features(rows, feature_set, TICKS["AAA"])
        assert matrix(mine).tobytes() == offline.values.tobytes()
        assert [v.warm for v in mine] == offline.warm.tolist()


def test_a_vector_says_whose_it_is() -> None:
    rows = make_bars(1, 3)
    stage = new_stage()
    *_, last = vectors(stage.process(as_records(records_of(rows))))
    assert last.lineage == feature_lineage(CORE.id, instruments().of("AAA"), "bars-tick:50")
    assert (last.bar_lineage, last.feature_set_id, last.bar_spec) == ("bars-tick:50", CORE.id, "tick:50")
    assert (last.exchange, last.stream, last.day) == ("X", 1, rows["day"][2])
    assert (last.ts_event_ns, last.session_close_ns) == (rows["ts_close_ns"][2], rows["session_close_ns"][2])
    assert (last.ref_price, last.session_end, last.warm, last.after_gap) == (rows["close"][2], True, False, False)


def test_a_live_specification_written_another_way_is_the_same() -> None:
    pipeline = Pipeline(bars=("dollar:5000000",), features=(Pair(bars="dollar:5000000", feature_set="core"),))
    stage = FeaturesStage(0, pipeline, instruments())
    assert len(stage.process(as_records(records_of(make_bars(1, 3), spec="dollar:5e6"))).outputs) == 3


def test_records_read_twice_and_lower_streams_are_dropped() -> None:
    rows, stage = make_bars(1, 20), new_stage()
    first = stage.process(as_records(records_of(rows, stream=2)))
    again = stage.process(as_records([*records_of(rows[5:], stream=2), *records_of(rows, stream=1)]))
    assert len(first.outputs) == 20
    assert again.outputs == []
    assert again.counts == {"bars_dropped": 35}


def test_a_new_stream_starts_afresh_within_one_batch() -> None:
    rows = renumbered(make_bars(3, 130))
    old, new = records_of(rows[:120], stream=1), records_of(renumbered(rows[60:].copy()), stream=2)
    found = vectors(new_stage().process(as_records([*old, *new])))
    assert matrix(found[120:]).tobytes() == compute_features(rows[60:], CORE, 0.5).values.tobytes()
    assert [v.seq for v in found[120:]] == list(range(70))
    assert not any(v.after_gap for v in found)


def test_poison_goes_to_the_dead_letters_and_voids_the_state() -> None:
    rows = renumbered(make_bars(4, 250))
    bars: list[Any] = list(records_of(rows))
    bars[30] = b"not a bar"
    step = new_stage().process(as_records(bars))
    assert [d.cause for d in step.dead] == [30]
    assert "cannot be decoded" in step.dead[0].reason
    assert step.halts == {}
    assert step.counts == {"gaps": 1}
    found = vectors(step)
    assert [v.bar_seq for v in found] == [*range(30), *range(31, 250)]
    # Readers of vectors see no hole: the lost bar has its reason in the dead letters of the bars.
    assert [v.seq for v in found] == list(range(249))
    assert not any(v.after_gap for v in found[:30])
    assert all(v.after_gap for v in found[30 : 30 + CORE.warmup - 1])
    assert not any(v.after_gap for v in found[30 + CORE.warmup - 1 :])
    assert matrix(found[30:]).tobytes() == compute_features(rows[31:], CORE, 0.5).values.tobytes()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"close": float("nan")}, "no finite prices"),
        ({"seq": 2**63}, "out of range"),
        ({"flags": 2**40}, "out of range"),
        ({"symbol": "ZZZ"}, "under another key"),
    ],
)
def test_a_bar_that_makes_no_sense_is_poison(change: dict[str, Any], reason: str) -> None:
    good = records_of(make_bars(4, 3))
    bad = msgspec.structs.replace(good[1], **change)
    records = as_records([good[0], bad, good[2]])
    records[1] = records[1]._replace(key=b"AAA")
    step = new_stage().process(records)
    assert [d.cause for d in step.dead] == [1]
    assert reason in step.dead[0].reason
    assert [v.bar_seq for v in vectors(step)] == [0, 2]


def test_a_symbol_without_an_instrument_is_poison() -> None:
    (stray,) = as_records([msgspec.structs.replace(records_of(make_bars(1, 3))[0], symbol="ZZZ")])
    (dead,) = new_stage().process([stray]).dead
    assert "no instrument for symbol 'ZZZ'" in dead.reason


def test_an_unexplained_gap_halts_its_symbol_only() -> None:
    a, b = records_of(make_bars(5, 20)), records_of(make_bars(6, 20), "BBB")
    stage = new_stage()
    step = stage.process(as_records([*a[:10], *b, *a[12:]]))
    assert list(step.halts) == ["AAA"]
    assert f"{BARS}[0]@30" in step.halts["AAA"]
    assert len(vectors(step, "AAA")) == 10
    assert len(vectors(step, "BBB")) == 20
    assert step.counts == {"bars_halted": 8}
    restored = new_stage()
    restored.restore(stage.freeze()())
    assert list(restored.process(as_records(a[12:14])).halts) == ["AAA"]
    assert len(vectors(restored.process(as_records(records_of(make_bars(5, 20), stream=2))))) == 20


def test_a_bar_its_builder_flagged_voids_the_state() -> None:
    rows = make_bars(8, 250)
    rows["flags"][100] |= BarFlag.AFTER_GAP
    found = vectors(new_stage().process(as_records(records_of(rows))))
    assert [v.after_gap for v in found] == compute_features(rows, CORE, 0.5).after_gap.tolist()
    assert found[100].after_gap


def test_it_runs_under_a_host_over_a_log() -> None:
    log = MemoryLog()
    for bar in records_of(make_bars(9, 130)):
        log.publish(BARS, bar)
    host = MemoryHost(log, BARS, lambda p: FeaturesStage(p, PIPELINE, instruments()), max_records=17)
    host.run()
    assert len(log.read(FEATURES, partition_of("AAA", log.partitions))) == 130


def test_a_snapshot_of_another_configuration_is_refused() -> None:
    stage = new_stage()
    stage.process(as_records(records_of(make_bars(1, 5))))
    blob = stage.freeze()()
    other_pipeline = Pipeline(bars=("tick:20",), features=(Pair(bars="tick:20", feature_set="core"),))
    for other in (
        FeaturesStage(1, PIPELINE, instruments()),
        FeaturesStage(0, other_pipeline, instruments()),
        FeaturesStage(0, PIPELINE, instruments(tick_size=0.1)),
    ):
        with pytest.raises(RecoveryError):
            other.restore(blob)
    with pytest.raises(RecoveryError, match="cannot be read"):
        new_stage().restore(b"\xc1")


def test_an_unknown_feature_set_or_specification_fails_at_start() -> None:
    with pytest.raises(ConfigError, match="one of core"):
        FeaturesStage(0, Pipeline(bars=("tick:50",), features=(Pair(bars="tick:50", feature_set="x"),)), instruments())
    with pytest.raises(ConfigError, match="bar specification"):
        FeaturesStage(0, Pipeline(bars=("tix:1",), features=(Pair(bars="tix:1", feature_set="core"),)), instruments())
