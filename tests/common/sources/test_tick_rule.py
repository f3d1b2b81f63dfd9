"""The tick rule carries its state, whatever the blocks."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tapelab.common.sources.local_time import to_utc_ns, utc_offset_ns
from tapelab.common.sources.merge import Block, Feed, merge
from tapelab.common.sources.tick_rule import TickRule
from tapelab.quant.dtypes import TickFlag
from tapelab.quant.ticks import Ticks
from tests.common.sources.tapes import same


def _prints(price: list[float], ts_s: list[float] | None = None) -> Ticks:
    n = len(price)
    seconds = ts_s if ts_s is not None else list(range(n))
    return Ticks(
        (np.array(seconds) * 1e9).astype(np.int64),
        np.array(price, float),
        np.ones(n),
        *(np.zeros(n, dtype) for dtype in (np.int8, np.uint8, np.uint8, np.uint16, np.int32, np.int32)),
        np.full(n, -1, np.int64),
    )


def test_direction_holds_until_the_price_turns() -> None:
    ticks = _prints([10, 10, 11, 11, 10, 10, 12])
    assert TickRule().apply(ticks, np.zeros(7, np.int32), 1).aggressor.tolist() == [0, 0, 1, 1, -1, -1, 1]


def test_symbols_do_not_mix_and_suspicious_prints_do_not_count() -> None:
    ticks = _prints([10, 50, 99, 11, 49])
    ticks.flags[2] = TickFlag.SUSPICIOUS
    codes = np.array([0, 1, 0, 0, 1], np.int32)
    assert TickRule().apply(ticks, codes, 2).aggressor.tolist() == [0, 0, 0, 1, -1]


def test_a_day_starts_afresh() -> None:
    ticks = _prints([10, 11, 12, 12], [0, 1, 86_400, 86_401])
    assert TickRule().apply(ticks, np.zeros(4, np.int32), 1).aggressor.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_the_result_does_not_depend_on_the_blocks(cut: int) -> None:
    price = np.random.default_rng(3).integers(1, 5, 40).astype(float).tolist()
    ticks, codes = _prints(price), np.zeros(40, np.int32)
    rule = TickRule()
    parts = [rule.apply(ticks.slice(0, cut), codes[:cut], 1), rule.apply(ticks.slice(cut), codes[cut:], 1)]
    assert same(Ticks.concatenate(parts), TickRule().apply(ticks, codes, 1))


def test_local_times_follow_the_zone_over_a_change_of_clocks() -> None:
    local = np.array(["2013-11-01T12:00", "2013-11-05T12:00"], "datetime64[ns]").astype(np.int64)
    utc = to_utc_ns(local, "America/New_York").astype("datetime64[ns]").astype(str).tolist()
    assert [text[11:13] for text in utc] == ["16", "17"]


@pytest.mark.parametrize("zone", ["America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_offsets_are_the_zones_at_every_moment(zone: str) -> None:
    # Two years around Brazil's last change of clocks, every quarter of an hour.
    ts_ns = np.arange(1_514_764_800, 1_577_836_800, 900, dtype=np.int64)[::7] * 10**9 + 123
    found = utc_offset_ns(ts_ns, zone)
    for i in range(0, len(ts_ns), 501):
        local = datetime.fromtimestamp(ts_ns[i] // 10**9, ZoneInfo(zone)).utcoffset()
        assert local is not None
        assert found[i] == local.total_seconds() * 10**9
    assert len(np.unique(found)) == (1 if zone == "Asia/Kathmandu" else 2)


def test_merging_keeps_a_late_print_behind_its_predecessor() -> None:
    ticks = _prints([1, 2, 3, 4], [10, 70, 5, 130])
    feed = Feed("X", iter([Block.of_one("A", ticks.slice(0, 2)), Block.of_one("A", ticks.slice(2))]))
    slices = list(merge([feed, Feed("X", iter([Block.of_one("B", _prints([9], [20]))]))], 60 * 10**9))
    assert [part.end_ns // 10**9 for part in slices] == [60, 120, 180]
    assert [[chunk.symbol for chunk in part.chunks] for part in slices] == [["A", "B"], ["A"], ["A"]]
    assert slices[1].chunks[0].ticks.price.tolist() == [2, 3]
