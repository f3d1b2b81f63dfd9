"""The paper engine does what a real one must."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tapelab.common.codec import encode
from tests.services.inference.vectors import DOWN, SECOND, T0, UP, bound, context, decide, vector

LATE = T0 + 10_000 * SECOND


@pytest.fixture(scope="module")
def example(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("execution_engine", repository / "examples/execution_engine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["execution_engine"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def database() -> Any:
    connection = sqlite3.connect(":memory:")
    yield connection
    connection.close()


def raw(number: int, side: int, **changes: Any) -> bytes:
    """A signal as it stands on the topic, with the fields that a test cares about."""
    fields = {
        "signal_id": f"{number:032x}",
        "symbol": "AAA",
        "stream": "1",
        "side": side,
        "reason": "edge",
        "mode": "live",
        "ref_price": 100.0,
        "expected_cost": 0.0,
        "ts_event_ns": str(T0),
        "valid_until_ns": str(T0 + SECOND),
        "halted": False,
        "something_new": 1,
    }
    return json.dumps(fields | changes).encode()


def fills(lines: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return [(line["quantity"], line["position"]) for line in lines if line["event"] == "fill"]


def feed(engine: Any, *values: bytes, first: int = 0) -> list[dict[str, Any]]:
    return [line for i, value in enumerate(values) for line in engine.on_record(0, first + i, value)]


def test_the_services_own_signals_are_followed_to_their_targets(example: ModuleType, database) -> None:
    under = context(bound(), bound("challenger"))
    signals = decide([vector(0), vector(1, UP), vector(2, DOWN, at_s=4), vector(3, session_end=True, at_s=5)], under)
    assert [(s.mode, s.side) for s in signals] == [(mode, side) for side in (1, -1, 0) for mode in ("live", "shadow")]
    engine = example.PaperEngine(database)
    lines = feed(engine, *(encode(s) for s in signals))
    assert fills(lines) == [(1.0, 1.0), (-2.0, -1.0), (1.0, 0.0)]
    assert [line["client_order_id"] for line in lines] == [s.signal_id for s in signals if s.mode == "live"]


def test_profit_is_net_of_costs(example: ModuleType, database) -> None:
    engine = example.PaperEngine(database, lots=2.0)
    lines = feed(
        engine,
        raw(1, 1, ref_price=100.0, expected_cost=0.01),
        raw(2, -1, ref_price=110.0, expected_cost=0.01),
        raw(3, 0, ref_price=105.0, expected_cost=0.01),
    )
    assert fills(lines) == [(2.0, 2.0), (-4.0, -2.0), (2.0, 0.0)]
    bought, sold, covered = 100.0 * 1.005, 110.0 * 0.995, 105.0 * 1.005
    assert lines[-1]["pnl"] == pytest.approx(2 * (sold - bought) + 2 * (sold - covered))


def test_a_signal_is_sent_once_also_across_a_restart(example: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    first = sqlite3.connect(path)
    assert fills(feed(example.PaperEngine(first), raw(1, 1), raw(2, -1))) == [(1.0, 1.0), (-2.0, -1.0)]
    first.close()
    again = sqlite3.connect(path)
    engine = example.PaperEngine(again)
    assert engine.next_offset(0) == 2
    assert feed(engine, raw(1, 1), raw(2, -1)) == []  # read again
    assert [line["why"] for line in feed(engine, raw(2, -1), first=2)] == ["sent already"]  # written again
    assert engine.position("AAA").lots == -1.0
    again.close()


def test_a_crash_before_the_commit_leaves_nothing_behind(
    example: ModuleType, database, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = example.PaperEngine(database)
    with monkeypatch.context() as patch:
        patch.setattr(example.Position, "traded", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.on_record(0, 0, raw(1, 1))
    assert engine.next_offset(0) == 0
    assert fills(feed(engine, raw(1, 1))) == [(1.0, 1.0)]


def test_a_stale_signal_opens_nothing_and_closes_always(example: ModuleType, database) -> None:
    now = [T0]
    engine = example.PaperEngine(database, now_ns=lambda: now[0])
    assert fills(feed(engine, raw(1, 1))) == [(1.0, 1.0)]
    now[0] = LATE
    flip = feed(engine, raw(2, -1), first=1)
    assert fills(flip) == [(-1.0, 0.0)]
    assert flip[0]["why"] == "stale: opens nothing"
    assert fills(feed(engine, raw(3, 1), first=2)) == []
    now[0] = T0 + SECOND
    assert fills(feed(engine, raw(4, 1), first=3)) == [(1.0, 1.0)]
    now[0] = LATE
    assert fills(feed(engine, raw(5, 0), first=4)) == [(-1.0, 0.0)]


def test_in_event_time_no_signal_of_a_replayed_tape_is_stale(example: ModuleType, database) -> None:
    assert fills(feed(example.PaperEngine(database), raw(1, 1))) == [(1.0, 1.0)]


def test_a_halted_signal_only_closes(example: ModuleType, database) -> None:
    engine = example.PaperEngine(database)
    assert fills(feed(engine, raw(1, 1, halted=True))) == []
    assert fills(feed(engine, raw(2, 1), raw(3, 0, halted=True, reason="halt"), first=1)) == [(1.0, 1.0), (-1.0, 0.0)]


def test_an_older_stream_is_dropped(example: ModuleType, database) -> None:
    engine = example.PaperEngine(database)
    lines = feed(engine, raw(1, 1, stream="2"), raw(2, -1, stream="1"), raw(3, -1, stream="1", symbol="BBB"))
    assert fills(lines) == [(1.0, 1.0), (-1.0, -1.0)]
    assert lines[1]["why"] == "stream 1 is older than 2"


def test_only_live_signals_are_followed_unless_asked(example: ModuleType, database) -> None:
    signals = [raw(1, 1, mode="shadow"), raw(2, -1, mode="live"), raw(3, 1, mode="canary")]
    assert fills(feed(example.PaperEngine(database), *signals)) == [(-1.0, -1.0)]
    other = sqlite3.connect(":memory:")
    engine = example.PaperEngine(other, shadow=True)
    feed(engine, *signals)
    assert [engine.position("AAA", mode).lots for mode in ("live", "shadow", "canary")] == [-1.0, 1.0, 1.0]
    other.close()


def test_what_cannot_be_read_is_said_and_skipped(example: ModuleType, database) -> None:
    engine = example.PaperEngine(database)
    lines = feed(engine, b"rubbish", b"[]", b"{}", raw(1, 1, ref_price="much"), raw(2, 1))
    assert [line["event"] for line in lines] == ["unreadable"] * 4 + ["fill"]
    assert engine.next_offset(0) == 5


def run_example(words: list[str], folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TAPELAB_")}
    return subprocess.run(
        words, cwd=folder, env=kept | environ, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture(scope="module")
def documented(repository: Path) -> list[str]:
    """The command that the documents give, with the paths of this checkout."""
    page = (repository / "docs/operations.md").read_text().split("## A paper engine")[1]
    line = next(line for line in page.splitlines() if "execution_engine.py" in line)
    return [str(repository / word) if "/" in word else word for word in line.split()]


@pytest.mark.parametrize("named", ["environment", "stack"])
def test_the_documented_command_goes_to_the_local_broker_and_fails_in_one_line(
    named: str, documented: list[str], tmp_path: Path
) -> None:
    (tmp_path / ".run").mkdir()
    address = {"environment": "127.0.0.1:1", "stack": "127.0.0.1:2"}
    stack = {"pid": 1, "environ": {"TAPELAB_BROKER": address["stack"]}, "page": ""}
    (tmp_path / ".run/stack.json").write_text(json.dumps(stack))
    environ = {"TAPELAB_BROKER": address["environment"]} if named == "environment" else {}
    done = run_example(documented, tmp_path, **environ)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"broker {address[named]}" in line


def test_without_a_broker_the_example_says_how_to_find_one(documented: list[str], tmp_path: Path) -> None:
    done = run_example(documented, tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "make up" in line
    assert "--broker" in line
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_cannot_be_opened_is_one_line(documented: list[str], tmp_path: Path) -> None:
    done = run_example([*documented, "--broker", "127.0.0.1:1", "--database", "none/x.sqlite"], tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "none/x.sqlite" in line


@pytest.mark.parametrize("broker", ["foo:bar", "::::"])
def test_an_address_that_is_none_is_one_line(broker: str, documented: list[str], tmp_path: Path) -> None:
    done = run_example([*documented, "--broker", broker], tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert broker in line


@pytest.mark.parametrize("lots", ["0", "-1", "nan"])
def test_lots_that_cannot_be_traded_are_refused(lots: str, documented: list[str], tmp_path: Path) -> None:
    done = run_example([*documented, "--broker", "127.0.0.1:1", "--lots", lots], tmp_path)
    assert done.returncode == 2
    assert "--lots must be above 0" in done.stderr


def test_the_database_is_not_for_git(repository: Path) -> None:
    ignored = (repository / ".gitignore").read_text().split()
    assert any(fnmatch("paper.sqlite-journal", pattern) for pattern in ignored)


def test_the_example_stays_short_and_explains_itself(repository: Path) -> None:
    path = repository / "examples/execution_engine.py"
    assert len(path.read_text().splitlines()) <= 200
    assert "import tapelab" not in path.read_text()
    assert "from tapelab" not in path.read_text()
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, check=True, timeout=60)
    assert "--shadow" in done.stdout
