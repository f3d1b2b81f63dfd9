"""Nelogica files as users have them, traps included."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tapelab.common.errors import SourceError
from tapelab.common.sources.detect import open_tape
from tapelab.common.sources.nelogica_writer import write_nelogica
from tapelab.common.sources.trade_types import agent_id, trade_type_code
from tapelab.quant.dtypes import AggressorSource, TickFlag
from tests.common.sources.tapes import WINFUT_ROWS, only, read, same, simulated, winfut


def test_a_winfut_row_becomes_a_print(tmp_path: Path) -> None:
    ticks = only(open_tape(winfut(tmp_path / "WINFUT.csv")))
    first = datetime.fromtimestamp(int(ticks.ts_event_ns[0]) / 1e9, UTC)
    assert first == datetime(2026, 11, 4, 12, 0, tzinfo=UTC)  # 09:00 in Sao Paulo
    assert ticks.price.tolist() == [180000, 180005, 180005, 180000, 180010, 180010]
    assert ticks.volume.tolist() == [5, 1, 2, 3, 100, 7]
    assert ticks.trade_id.tolist() == [10, 20, 30, 40, 50, 60]
    assert ticks.trade_type.tolist() == [4, 2, 13, 3, 1, 5]


def test_only_types_two_and_three_carry_a_direction(tmp_path: Path) -> None:
    ticks = only(open_tape(winfut(tmp_path / "w.csv")))
    assert ticks.aggressor.tolist() == [0, 1, 0, -1, 0, 0]
    by_type = int(AggressorSource.TRADE_TYPE)
    assert ticks.aggressor_source.tolist() == [0, by_type, 0, by_type, 0, 0]
    assert ticks.flags.tolist() == [TickFlag.AUCTION, 0, TickFlag.RLP, 0, TickFlag.CROSS, 0]


def test_prints_of_one_second_keep_their_time_and_the_order_of_the_file(tmp_path: Path) -> None:
    ticks = only(open_tape(winfut(tmp_path / "w.csv")))
    assert np.diff(ticks.ts_event_ns).tolist() == [10**9, 0, 2 * 10**9, 0, 10**9]


def test_a_newest_first_file_is_turned_round(tmp_path: Path) -> None:
    forward = only(open_tape(winfut(tmp_path / "a.csv")))
    backward = only(open_tape(winfut(tmp_path / "b.csv", WINFUT_ROWS[::-1])))
    assert same(forward, backward)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"newest_first": True},
        {"header": "names", "types": "portuguese"},
        {"header": "none", "types": "code"},
        {"comma_decimals": True},
        {"comma_decimals": True, "newest_first": True, "types": "portuguese", "encoding": "cp1252"},
    ],
)
def test_every_winfut_variant_reads_back_as_it_was_written(tmp_path: Path, options: dict[str, object]) -> None:
    tape = simulated()
    write_nelogica(tmp_path / "tape.csv.gz", tape, **options)  # type: ignore[arg-type]
    again = read(open_tape(tmp_path / "tape.csv.gz", block_bytes=20_000))
    for symbol, ticks in read(tape).items():
        seconds = ticks.ts_event_ns // 10**9 * 10**9
        expected = ticks._replace(
            ts_event_ns=seconds, buy_agent=again[symbol].buy_agent, sell_agent=again[symbol].sell_agent
        )
        assert same(again[symbol], expected)
        # Broker names become other numbers, but the same broker is the same number.
        assert len(set(zip(ticks.buy_agent, again[symbol].buy_agent, strict=True))) == len(set(ticks.buy_agent))


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-8-sig"])
def test_a_times_and_trades_export_reads_back(tmp_path: Path, encoding: str) -> None:
    tape = simulated(symbols="WDOZ26")
    path = tmp_path / "times.csv"
    write_nelogica(path, tape, layout="times_trades", newest_first=True, encoding=encoding)
    assert path.read_bytes().rstrip().endswith(b";;;;;;;")
    opened = open_tape(path, block_bytes=10_000)
    again, ticks = only(opened), only(tape)
    assert opened.summary().rejects == 0
    assert same(
        again,
        ticks._replace(ts_event_ns=ticks.ts_event_ns // 10**9 * 10**9, trade_id=np.full(ticks.n, -1, np.int64)),
    )


def test_pt_br_points_without_a_comma_are_thousands(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    path.write_text(
        "ATIVO;DATA;HORARIO;Corretora Compradora;Valor da Negociacao;Qd Lts;Corretora Vendedora;Agressor\n"
        "WINFUT;13/07/2026;09:00:48;3 - XP;128.450;1.054;8 - UBS;Comprador\n"
    )
    ticks = only(open_tape(path))
    assert (ticks.price[0], ticks.volume[0]) == (128450.0, 1054.0)
    assert (ticks.buy_agent[0], ticks.sell_agent[0]) == (3, 8)


@pytest.mark.parametrize("block_bytes", [150, 1_000, 1 << 20])
def test_the_result_does_not_depend_on_how_the_file_is_cut_into_blocks(tmp_path: Path, block_bytes: int) -> None:
    path = tmp_path / "t.csv"
    write_nelogica(path, simulated(symbols="WINZ26", hours=0.02))
    assert same(only(open_tape(path, block_bytes=block_bytes)), only(open_tape(path)))


def test_malformed_rows_go_to_the_rejects_with_file_line_and_reason(tmp_path: Path) -> None:
    bad = (
        "WINFUT,20261104,090005,70,not a price,1,0,XP,UBS,RLP,0",
        "WINFUT,20261104,090005,70",
        "",
        "WINFUT,20261304,090005,70,180000.00,1,0,XP,UBS,RLP,0",
        "WINFUT,20261104,096005,70,180000.00,1,0,XP,UBS,RLP,0",
        "WINFUT,20261104,090005,70,180000.00,-1,0,XP,UBS,RLP,0",
        "WINFUT,20261104,090005,70,180000.00,1,0,XP,UBS,Banana,0",
        ",20261104,090005,70,180000.00,1,0,XP,UBS,RLP,0",
        "WINFUT,20261104,090005,70,inf,1,0,XP,UBS,RLP,0",
    )
    path = winfut(tmp_path / "w.csv", (*WINFUT_ROWS[:3], *bad, *WINFUT_ROWS[3:]))
    for block_bytes in (200, 1 << 20):
        tape = open_tape(path, rejects_path=tmp_path / "rejects.csv", block_bytes=block_bytes)
        assert only(tape).n == len(WINFUT_ROWS)
        summary = tape.summary()
        assert (summary.rows, summary.rejects, summary.rejects_path) == (6, 8, tmp_path / "rejects.csv")
        with (tmp_path / "rejects.csv").open() as file:
            rows = sorted((int(row["line"]), row["file"], row["reason"]) for row in csv.DictReader(file))
        assert [line for line, _, _ in rows] == [5, 6, 8, 9, 10, 11, 12, 13]
        assert {file for _, file, _ in rows} == {str(path)}
        assert rows[0][2] == "no positive price 'not a price'"
        assert rows[1][2] == "4 columns instead of 11"
        assert rows[5][2] == "no trade type 'Banana'"


def test_reading_again_starts_the_rejects_again(tmp_path: Path) -> None:
    tape = open_tape(winfut(tmp_path / "w.csv", (*WINFUT_ROWS, "x")), rejects_path=tmp_path / "r.csv")
    only(tape)
    only(tape)
    assert tape.summary().rejects == 1
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 2


def test_without_a_trade_type_the_tick_rule_says_so(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    path.write_text(
        "ticker,date,time,price,qty\n"
        "WINFUT,20261104,090000,100,1\nWINFUT,20261104,090001,105,1\n"
        "WINFUT,20261104,090002,105,1\nWINFUT,20261104,090003,100,1\n"
    )
    ticks = only(open_tape(path))
    rule = int(AggressorSource.TICK_RULE)
    assert ticks.aggressor.tolist() == [0, 1, 1, -1]
    assert ticks.aggressor_source.tolist() == [0, rule, rule, rule]


def test_files_of_a_folder_follow_each_other_whatever_their_names(tmp_path: Path) -> None:
    later = tuple(row.replace("20261104", "20261105") for row in WINFUT_ROWS)
    winfut(tmp_path / "a.csv", later[::-1])
    winfut(tmp_path / "b.csv")
    tape = open_tape(tmp_path)
    assert (np.diff(only(tape).ts_event_ns) >= 0).all()
    first, last = tape.time_range()
    assert datetime.fromtimestamp(first / 1e9, UTC).day == 4
    assert datetime.fromtimestamp(last / 1e9, UTC) == datetime(2026, 11, 5, 12, 0, 4, tzinfo=UTC)


def test_two_files_of_the_same_time_are_an_error(tmp_path: Path) -> None:
    winfut(tmp_path / "a.csv")
    winfut(tmp_path / "copy of a.csv")
    with pytest.raises(SourceError, match="overlap in time"):
        only(open_tape(tmp_path))


def test_brokers_keep_their_number_or_get_a_stable_one() -> None:
    assert agent_id("147 - ATIVA INVESTIMENTOS S.A. CTCV") == 147
    assert agent_id("8") == 8
    assert agent_id("") == 0
    assert agent_id("BTG Pactual") == agent_id(" btg  PACTUAL ") == 1826042714
    assert 2**30 <= agent_id("XP") < 2**31


def test_trade_types_are_known_by_name_in_both_languages_and_by_number() -> None:
    names = ["AggressorBuyer", "Compra Agressão", "Compra Agressao", "Comprador", "2", "02"]
    assert [trade_type_code(name) for name in names] == [2] * 6
    assert [trade_type_code(name) for name in ["Leilão", "RLP", "", "17", "Banana"]] == [4, 13, 0, 17, -1]
