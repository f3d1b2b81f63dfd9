"""What is no tape is one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapelab.common.errors import SourceError
from tapelab.common.sources.detect import open_tape
from tests.common.sources.tapes import WINFUT_HEADER, only, winfut


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("")
    with pytest.raises(SourceError, match=r"w\.csv is empty"):
        open_tape(tmp_path / "w.csv")


def test_a_file_with_a_header_only_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no good row"):
        open_tape(winfut(tmp_path / "w.csv", ()))


def test_a_wholly_wrong_file_is_an_error_that_shows_its_first_row(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"2 malformed rows; the first: .*w\.csv line 2: 1 columns instead of 11"):
        open_tape(winfut(tmp_path / "w.csv", ("a", "b"), WINFUT_HEADER))


@pytest.mark.parametrize("text", ["hello\nworld\n", "\x00\x01\x02", "a,b,c\n1,2,3\n"])
def test_an_unknown_file_is_an_error_that_shows_nothing_of_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.csv").write_text(text)
    with pytest.raises(SourceError, match="is no tape: expected a file of format nelogica, binance, lean") as raised:
        open_tape(tmp_path / "w.csv")
    assert text.split("\n")[0] not in str(raised.value)
    assert ascii(text.split("\n")[0]).strip("'") not in str(raised.value)


def test_the_wrong_format_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no binance tape"):
        open_tape(winfut(tmp_path / "w.csv"), format="binance")
    with pytest.raises(SourceError, match="unknown tape format 'metastock'"):
        open_tape(tmp_path, format="metastock")


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no tape"):
        open_tape(tmp_path)
    with pytest.raises(SourceError, match="nothing there"):
        open_tape(tmp_path / "missing.csv")


def test_a_broken_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "20131007_trade.zip").write_bytes(b"PK not really")
    (tmp_path / "w.csv.gz").write_bytes(b"\x1f\x8b not really")
    for name in ("20131007_trade.zip", "w.csv.gz"):
        with pytest.raises(SourceError, match="cannot read"):
            open_tape(tmp_path / name)


def test_a_folder_of_two_formats_is_an_error_and_a_readme_is_not(tmp_path: Path) -> None:
    winfut(tmp_path / "w.csv")
    (tmp_path / "README.txt").write_text("What these files are.\n")
    assert only(open_tape(tmp_path)).n == 6
    (tmp_path / "ABCUSDT-trades-1.csv").write_text("7,2.5,4,10,1700000000000,true\n")
    with pytest.raises(SourceError, match="1 binance files, 1 nelogica files"):
        open_tape(tmp_path)


def test_a_symbol_that_is_not_on_the_tape_is_an_error(tmp_path: Path) -> None:
    tape = open_tape(winfut(tmp_path / "w.csv"), only=frozenset({"WDOFUT"}))
    with pytest.raises(SourceError, match="expected prints of WDOFUT"):
        list(tape.chunks())


@pytest.mark.parametrize("options", ["seed=x", "days=0", "colour=red", "symbols=ABC", "start=tomorrow"])
def test_wrong_simulator_options_are_an_error(options: str) -> None:
    with pytest.raises(SourceError, match="the simulator's options"):
        open_tape(options, format="simulator")
