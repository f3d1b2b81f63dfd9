"""``bars`` says where things are; local experiments find their prints."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import tapelab.trainer.cli as trainer
from tapelab.cli.commands import tapes
from tapelab.cli.stack.layout import StackFile, default_layout
from tapelab.common.settings import CommonSettings
from tapelab.common.sources.detect import open_tape
from tapelab.common.sources.nelogica_writer import write_nelogica


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tape") / "WINZ26.csv"
    write_nelogica(path, open_tape("seed=1,days=1,hours=0.1,symbols=WINZ26", format="simulator"))
    return path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[CommonSettings]:
    """Settings that local experiments were started with."""
    seen: list[CommonSettings] = []

    def note(config: Path, out: Path, *, settings: CommonSettings, on_progress: Any) -> dict[str, Any]:
        seen.append(settings)
        return {"samples": 0}

    monkeypatch.setattr(trainer, "dataset_local", note)
    return seen


@pytest.mark.slow
def test_rejected_rows_are_said_with_the_file_that_lists_them(command, tape: Path, repository, tmp_path: Path) -> None:
    spoilt = tmp_path / tape.name
    spoilt.write_bytes(tape.read_bytes() + b"rubbish\n")
    words = ["bars", str(spoilt), "--spec", "tick:100", "--config-dir", str(repository / "config")]
    words += ["--out", str(tmp_path / "bars.parquet")]
    rejects = tmp_path / "bars.rejects.csv"
    assert f"1 rejected rows (listed in {rejects})" in command(*words).out
    assert "rubbish" in spoilt.read_text()
    assert len(rejects.read_text().splitlines()) == 2
    assert json.loads(command(*words, "--json").out)["rejects_path"] == str(rejects)
    words[1] = str(tape)
    assert json.loads(command(*words, "--json").out)["rejects_path"] is None


@pytest.mark.slow
def test_plain_bars_are_the_plain_columns_of_the_full_ones(command, tape: Path, repository, tmp_path: Path) -> None:
    words = ["bars", str(tape), "--spec", "volume:300", "--config-dir", str(repository / "config"), "--json", "--out"]
    full, plain = tmp_path / "full.parquet", tmp_path / "plain.parquet"
    assert (
        json.loads(command(*words, str(full)).out)["bars"]
        == json.loads(command(*words, str(plain), "--plain").out)["bars"]
        > 10
    )
    table = pq.read_table(plain)
    assert {"symbol", "lineage", "vwap", "sell_volume"} < set(table.column_names)
    assert table.equals(pq.read_table(full).select(table.column_names))


def test_bars_elsewhere_say_what_they_looked_for(
    command, tape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("bars", str(tape), "--spec", "tick:100", "--out", "x.parquet")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert str(tmp_path / "config" / "instruments.yaml") in line
    assert "--config-dir" in line


@pytest.mark.parametrize("out", ["none/x.parquet", "."])
def test_bars_that_cannot_be_written_are_refused_before_the_tape_is_read(
    out: str, command, tmp_path: Path, repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tapes, "open_tape", lambda *_, **__: pytest.fail("the tape was opened"))
    config = str(repository / "config")
    done = command("bars", "t.csv", "--spec", "tick:100", "--out", str(tmp_path / out), "--config-dir", config)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "--out" in line


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device", "/full/x"), "/full/x: No space left on device"),
        (OSError("cannot open"), "cannot open"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "UTF-8"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: Exception, says: str, command, repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise error

    monkeypatch.setattr(tapes, "load_instruments", refused)
    config = str(repository / "config")
    done = command("bars", "t.csv", "--spec", "tick:100", "--out", "x.parquet", "--config-dir", config)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("tapelab: ")
    assert says in line


def test_an_experiment_on_ticks_raw_reads_the_running_stack(
    command, trained: list[CommonSettings], repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    layout = default_layout()
    environ = {"TAPELAB_BROKER": "127.0.0.1:7", "TAPELAB_POSTGRES_DSN": "postgresql://there/db"}
    with layout.owned():
        layout.write(StackFile(pid=os.getpid(), environ=environ, page="http://127.0.0.1/"))
        assert command("dataset", "config/experiments/default.yaml", "--json").code == 0
        assert command("dataset", "config/experiments/simulator.yaml", "--json").code == 0
    assert [s.postgres_dsn for s in trained] == ["postgresql://there/db", CommonSettings().postgres_dsn]


def test_an_experiment_on_ticks_raw_reads_the_database_that_the_environment_names(
    command, trained: list[CommonSettings], repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    monkeypatch.setenv("TAPELAB_POSTGRES_DSN", "postgresql://named/db")
    assert command("dataset", "config/experiments/default.yaml", "--json").code == 0
    assert [s.postgres_dsn for s in trained] == ["postgresql://named/db"]


@pytest.mark.parametrize("name", ["dataset", "train"])
def test_an_experiment_on_ticks_raw_without_a_stack_says_what_to_do(
    name: str, command, repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    done = command(name, "config/experiments/default.yaml")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "make up" in line
    assert tapes.WITHOUT_STACK in line
    assert (repository / tapes.WITHOUT_STACK).is_file()
