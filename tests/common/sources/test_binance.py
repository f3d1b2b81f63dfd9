"""Binance's public dumps in all their layouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapelab.common.sources.detect import open_tape
from tapelab.quant.dtypes import AggressorSource
from tests.common.sources.tapes import only

MS = 1_700_000_000_000

LAYOUTS = {
    "futures trades": ("id,price,qty,quote_qty,time,is_buyer_maker", "7,2.5,4,10,{t},true", "8,2.5,4,10,{t},false"),
    "old futures trades": (None, "7,2.5,4,10,{t},true", "8,2.5,4,10,{t},false"),
    "spot trades": (None, "7,2.5,4,10,{t},True,True", "8,2.5,4,10,{t},False,True"),
    "futures aggTrades": (
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
        "7,2.5,4,70,71,{t},true",
        "8,2.5,4,72,72,{t},false",
    ),
    "spot aggTrades": (None, "7,2.5,4,70,71,{t},True,True", "8,2.5,4,72,72,{t},False,True"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [1, 1000])
def test_every_layout_is_recognised_in_ms_and_in_us(tmp_path: Path, layout: str, scale: int) -> None:
    header, *rows = LAYOUTS[layout]
    path = tmp_path / f"ABCUSDT-{layout.split()[-1]}-2024-01-01.csv"
    path.write_text("\n".join([*([header] if header else []), *rows]).format(t=MS * scale) + "\n")
    tape = open_tape(path)
    ticks = only(tape)
    assert tape.symbols() == {"ABCUSDT": "BINANCE"}
    assert ticks.ts_event_ns.tolist() == [MS * 1_000_000] * 2
    assert ticks.price.tolist() == [2.5, 2.5]
    assert ticks.volume.tolist() == [4, 4]
    assert ticks.trade_id.tolist() == [7, 8]
    assert ticks.aggressor.tolist() == [-1, 1]  # a buyer who made the price did not cross the spread
    assert set(ticks.aggressor_source.tolist()) == {AggressorSource.VENUE}


def test_a_dump_whose_maker_column_is_known_to_be_wrong_gets_the_tick_rule(tmp_path: Path) -> None:
    since = 1_783_000_000_000
    rows = [f"{i},{2.5 + i % 2},4,10,{since + i},true" for i in range(200)]
    path = tmp_path / "ABCUSDT-trades-2026-07-03.csv"
    path.write_text("\n".join(rows) + "\n")
    ticks = only(open_tape(path))
    assert set(ticks.aggressor[1:].tolist()) == {-1, 1}
    assert set(ticks.aggressor_source[1:].tolist()) == {AggressorSource.TICK_RULE}


def test_real_dumps_are_complete(shared_data: Path) -> None:
    trades = open_tape(shared_data / "binance_trades_nexousdt_csv")
    assert only(trades).n == 18_817
    assert trades.symbols() == {"NEXOUSDT": "BINANCE"}
    ticks = only(open_tape(shared_data / "binance_aggtrades_xrpeth"))
    assert ticks.n == 12_477
    assert (ticks.aggressor == 1).mean() == pytest.approx(0.52, abs=0.01)
