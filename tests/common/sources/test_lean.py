"""LEAN's zipped trade ticks."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tapelab.common.sources.detect import open_tape
from tapelab.quant.dtypes import AggressorSource, TickFlag
from tests.common.sources.tapes import only, read, same

EQUITY = "34200000,1820000,100,P,1,0\n34200010,1820100,50,D,80000001,0\n34200020,1820000,300,N,40,1\n"


def _zip(path: Path, **inner: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in inner.items():
            archive.writestr(f"{name}.csv", text)
    return path


def test_day_and_symbol_come_from_the_name_and_prices_are_scaled(tmp_path: Path) -> None:
    path = _zip(tmp_path / "20131007_trade.zip", **{"20131007_ibm_Trade_Tick": EQUITY})
    tape = open_tape(path)
    ticks = only(tape)
    assert tape.symbols() == {"IBM": "US"}
    assert datetime.fromtimestamp(int(ticks.ts_event_ns[0]) / 1e9, UTC) == datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
    assert ticks.price.tolist() == [182.0, 182.01, 182.0]
    assert ticks.flags.tolist() == [0, TickFlag.ODD_LOT, TickFlag.AUCTION | TickFlag.SUSPICIOUS]


def test_the_aggressor_is_the_tick_rules_and_suspicious_prints_have_none(tmp_path: Path) -> None:
    ticks = only(open_tape(_zip(tmp_path / "20131007_trade.zip", **{"20131007_ibm_Trade_Tick": EQUITY})))
    assert ticks.aggressor.tolist() == [0, 1, 0]
    assert ticks.aggressor_source.tolist() == [0, AggressorSource.TICK_RULE, 0]


def test_an_unpacked_day_takes_its_symbol_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "20131007_trade.csv").write_text(EQUITY)
    assert open_tape(tmp_path / "spy").symbols() == {"SPY": "US"}


def test_expiries_of_a_future_are_symbols_of_their_own_with_plain_prices(tmp_path: Path) -> None:
    rows = "1000,1313.8,1,usa,,0\n1000,1313.9,0,usa,,0\n"
    path = _zip(
        tmp_path / "20131007_trade.zip",
        **{"20131007_gc_tick_trade_201312": rows, "20131007_gc_tick_trade_201402": rows},
    )
    got = read(open_tape(path))
    assert sorted(got) == ["GCG14", "GCZ13"]
    assert got["GCZ13"].price.tolist() == [1313.8, 1313.9]
    assert got["GCZ13"].flags.tolist() == [0, TickFlag.SUSPICIOUS]  # a print of no size
    assert sorted(read(open_tape(path, only=frozenset({"GCZ13"})))) == ["GCZ13"]


def test_ibm_has_every_trade_of_the_week_and_quotes_are_left_out(shared_data: Path) -> None:
    tape = open_tape(shared_data / "lean_us_ticks" / "ibm")
    ticks = only(tape)
    assert (ticks.n, tape.summary().rejects) == (126_395, 0)
    assert (np.diff(ticks.ts_event_ns) >= 0).all()
    assert 178 < ticks.price.min() < ticks.price.max() < 187
    assert tape.time_range() == (int(ticks.ts_event_ns[0]), int(ticks.ts_event_ns[-1]))


def test_a_day_of_spy_does_not_depend_on_the_blocks_it_is_read_in(shared_data: Path) -> None:
    path = shared_data / "lean_us_ticks" / "spy" / "20131007_trade.zip"
    whole = only(open_tape(path))
    assert whole.n == 250_601
    assert same(whole, only(open_tape(path, block_bytes=300_000)))


def test_the_whole_lean_folder_is_one_tape_in_time_order(shared_data: Path) -> None:
    tape = open_tape(shared_data / "lean_us_ticks", only=frozenset({"IBM", "GCZ13"}))
    ends = [part.end_ns for part in tape.slices(3_600_000_000_000)]
    assert ends == sorted(set(ends))
    assert tape.summary().symbols["GCZ13"] == 156_452


@pytest.mark.parametrize("name", ["20131399_trade.zip", "trades.zip"])
def test_a_name_without_a_day_is_no_lean_file(tmp_path: Path, name: str) -> None:
    path = _zip(tmp_path / name, data=EQUITY)
    with pytest.raises(Exception, match="LEAN needs the day"):
        open_tape(path)
