"""``tapelab bench backtest`` prints rows that scripts read."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tapelab.cli.bench import backtest

pytestmark = pytest.mark.slow


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "CASES", ((1, 20_000), (16, 6_000)))
    monkeypatch.setattr(backtest, "ROUNDS", 1)


def test_rows_have_figures_and_the_reason_of_a_missing_peer(command: Any, small: None) -> None:
    rows = json.loads(command("bench", "backtest", "--without-peers", "--json").out)["rows"]
    assert [row["work"] for row in rows] == ["backtest", "backtest_grid_16"]
    for row in rows:
        assert row["tapelab"] > 0.0
        assert row["floor"] > 0.0
        assert row["peers"] == {"vectorbt": None}
        assert "left out by --without-peers" in row["note"]
        assert ", 0 trades" not in row["note"]


def test_a_peer_that_fails_is_null_with_its_reason(command: Any, small: None, tmp_path: Any) -> None:
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\necho no vectorbt here >&2\nexec {sys.executable} -c 'raise SystemExit(1)'\n")
    broken.chmod(0o755)
    rows = json.loads(command("bench", "backtest", "--peer-python", str(broken), "--json").out)["rows"]
    assert all(row["peers"] == {"vectorbt": None} for row in rows)
    assert all("vectorbt did not run: no vectorbt here" in row["note"] for row in rows)
