"""Vectors begin with a whole day; what is carried is bounded by what is under way."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.common.codec import encode
from tapelab.common.errors import RecoveryError
from tapelab.common.pipeline import Pair, Pipeline, feature_lineage
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.bars import Bar
from tapelab.common.schemas.features import FeatureVector
from tapelab.features.stage import IDLE_DAYS, SCHEMA, FeaturesStage
from tapelab.quant.dtypes import BarFlag
from tests.quant.features.bars import make_bars, renumbered
from tests.services.features.test_stage import CORE, as_records, instruments, matrix, new_stage, records_of, vectors

ROWS = renumbered(make_bars(3, 160, days=4))
RECORDS = as_records(records_of(ROWS))
WHOLE = vectors(new_stage().process(RECORDS))
DAYS = sorted({v.day for v in WHOLE})


def in_pieces(stage: FeaturesStage, records: list[Record], size: int) -> tuple[FeaturesStage, list[FeatureVector]]:
    """Read, with a restart after every piece."""
    found: list[FeatureVector] = []
    for start in range(0, len(records), size):
        found += vectors(stage.process(records[start : start + size]))
        blob, stage = stage.freeze()(), new_stage()
        stage.restore(blob)
        assert stage.freeze()() == blob
    return stage, found


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(1, len(RECORDS) - 1), size=st.integers(10, 80))
def test_vectors_from_any_place_in_the_log_are_those_of_its_whole_days(cut: int, size: int) -> None:
    _, found = in_pieces(new_stage(), RECORDS[cut:], size)
    rest = [v for v in WHOLE if v.seq >= cut]
    begins = next((v.day for v in rest if ROWS["flags"][v.seq] & BarFlag.FIRST_OF_DAY), 0)
    lineage = feature_lineage(CORE.id, instruments().of("AAA"), "bars-tick:50", begins)
    expected = [msgspec.structs.replace(v, lineage=lineage) for v in rest if begins and v.day >= begins]
    assert [encode(v) for v in found] == [encode(v) for v in expected]
    assert not found or lineage != WHOLE[0].lineage


def test_what_is_withheld_is_counted_and_a_stream_within_the_log_is_whole() -> None:
    stage = new_stage()
    step = stage.process(RECORDS[5:10])
    assert (step.outputs, step.counts) == ([], {"bars_withheld": 5})
    again = as_records(records_of(ROWS[3:10], stream=2))
    assert {v.lineage for v in vectors(stage.process(again))} == {WHOLE[0].lineage}


@pytest.mark.parametrize("feature_set", ["core", "full_days"])
def test_between_two_days_a_snapshot_holds_no_engine_and_nothing_is_lost(feature_set: str) -> None:
    pipeline = Pipeline(bars=("tick:50",), features=(Pair(bars="tick:50", feature_set=feature_set),))
    ends = [i + 1 for i in range(len(ROWS)) if ROWS["flags"][i] & BarFlag.SESSION_END]
    stage, found, start = FeaturesStage(0, pipeline, instruments()), [], 0
    for stop in ends:
        found += vectors(stage.process(RECORDS[start : stop - 1]))
        under_way = len(stage.freeze()())
        found += vectors(stage.process(RECORDS[stop - 1 : stop]))
        blob = stage.freeze()()
        assert len(blob) < under_way / 3
        stage = FeaturesStage(0, pipeline, instruments())
        stage.restore(blob)
        start = stop
    whole = vectors(FeaturesStage(0, pipeline, instruments()).process(RECORDS[: ends[-1]]))
    assert matrix(found).tobytes() == matrix(whole).tobytes()
    assert [(v.warm, v.after_gap) for v in found] == [(v.warm, v.after_gap) for v in whole]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_sequence_of_which_nothing_comes_any_more_is_put_to_sleep_and_wakes(size: int) -> None:
    """Stopped within a day, it is forgotten days later; its number and the reader's rule are kept."""
    stopped = records_of(ROWS[:10])
    others: list[Bar] = []
    for day in range(IDLE_DAYS + 2):
        (row,) = renumbered(make_bars(5, 1))
        bar = records_of([row])[0]
        flags = int(BarFlag.FIRST_OF_DAY | BarFlag.SESSION_END)
        others.append(msgspec.structs.replace(bar, lineage="another", seq=day, day=20_300_101 + day, flags=flags))
    log = as_records([*stopped, *others])
    stage, found = new_stage(), []
    for start in range(0, len(log), size):
        found += vectors(stage.process(log[start : start + size]))
    assert len(stage.freeze()()) < 2_000
    restored = new_stage()
    restored.restore(stage.freeze()())
    late = [r._replace(offset=r.offset + 100) for r in as_records(records_of(ROWS[5:20]))]
    for again in (stage, restored):
        step = again.process(late)
        assert step.counts == {"bars_dropped": 5}
        assert [v.seq for v in vectors(step)] == list(range(10, 20))
        assert all(v.after_gap for v in vectors(step))  # what was known of the day is gone


def test_a_snapshot_of_another_layout_or_release_is_refused_with_both_named() -> None:
    stage = new_stage()
    stage.process(RECORDS[:3])
    fields = msgspec.msgpack.decode(stage.freeze()())
    for change, message in (
        (["features/9", *fields[1:]], "is of another layout: expected features/2, got 'features/9'; let the stage"),
        ([SCHEMA, "0.0.9", *fields[2:]], "is of another release: expected .*, got 0.0.9; .*first whole day"),
        ([0, "0.1.0 tick:50/x", [], []], "is of another layout: expected features/2, got 0"),
    ):
        with pytest.raises(RecoveryError, match=message):
            new_stage().restore(msgspec.msgpack.encode(change))
