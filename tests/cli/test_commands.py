"""The command line without a stack: results, and one clear line for every failure."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tapelab.common.instruments import load_instruments
from tapelab.common.schemas.bars import Bar
from tapelab.common.sources.detect import open_tape
from tapelab.common.sources.nelogica_writer import write_nelogica
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.ticks import Ticks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tape") / "WINZ26.csv"
    write_nelogica(path, open_tape("seed=1,days=1,hours=0.1,symbols=WINZ26", format="simulator"))
    return path


def tapelab(repository: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TAPELAB_")}
    return subprocess.run(
        [str(repository / ".venv/bin/tapelab"), *words],
        cwd=repository,
        env={**environ, "TAPELAB_RUN_DIR": str(folder / "run")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_bars_are_the_offline_bars_with_one_column_per_field(repository: Path, tape: Path, tmp_path: Path) -> None:
    out = tmp_path / "bars.parquet"
    done = tapelab(repository, tmp_path, "bars", str(tape), "--spec", "tick:100", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(out)
    assert table.column_names == list(Bar.__struct_fields__)
    assert json.loads(done.stdout)["bars"] == table.num_rows
    instruments = load_instruments(repository / "config")
    ticks = Ticks.concatenate([chunk.ticks for chunk in open_tape(tape).chunks()])
    expected = compute_bars(
        ticks,
        BarSpec.parse("tick:100"),
        instruments.calendar("WINZ26"),
        instruments.of("WINZ26").bar_trade_types,
    )
    for name in expected.dtype.names or ():
        np.testing.assert_array_equal(table[name].to_numpy(), expected[name])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("bars", "{tape}", "--spec", "ticks:100", "--out", "{tmp}/x.parquet"), "tick:200"),
        (("bars", "{tmp}/none.csv", "--spec", "tick:100", "--out", "{tmp}/x.parquet"), "none.csv"),
        (("bars", "{tmp}/empty.csv", "--spec", "tick:100", "--out", "{tmp}/x.parquet"), "empty.csv"),
        (("train", "{tmp}/none.yaml"), "none.yaml"),
        (("train", "{tmp}/bytes"), "no UTF-8 text"),
        (("dataset", "{tmp}/bytes"), "no UTF-8 text"),
        (("train", "config/experiments/simulator.yaml", "--out", "{tmp}/bytes"), "a file of that name"),
        (("bars", "{tape}", "--spec", "tick:100", "--out", "{tmp}"), "--out"),
        (("train", "config/experiments/default.yaml"), "simulator.yaml"),
        (("halt", "WINZ26", "--reason", "test"), "make up"),
        (("signals", "tail"), "make up"),
        (("up", "--source", "ticks_raw"), "--dsn"),
        (("up", "--tape", "{tmp}/none.csv"), "none.csv"),
        (("up", "--format", "nelogica"), "--tape"),
        (("up", "--speed", "-1"), "above 0"),
    ],
)
def test_a_failure_is_one_clear_line(
    words: tuple[str, ...], says: str, repository: Path, tape: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    done = tapelab(repository, tmp_path, *(w.format(tape=tape, tmp=tmp_path) for w in words))
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("tapelab: ")
    assert says in line
    assert line.count(": expected ") == 1


def test_status_says_that_nothing_runs(repository: Path, tmp_path: Path) -> None:
    done = tapelab(repository, tmp_path, "status", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout) == {"running": False, "starting": False}
