"""``tapelab bench backtest`` prints rows that scripts read."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tapelab.cli.bench import backtest, backtest_ticks

pytestmark = pytest.mark.slow


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backtest, "CASES", ((1, 20_000), (16, 6_000)))
    monkeypatch.setattr(backtest, "ROUNDS", 1)
    monkeypatch.setattr(backtest_ticks, "PRINTS", 5_000)
    monkeypatch.setattr(backtest_ticks, "ROUNDS", 1)


def test_rows_have_figures_and_the_reason_of_a_missing_peer(command: Any, small: None) -> None:
    rows = json.loads(command("bench", "backtest", "--without-peers", "--json").out)["rows"]
    assert [row["work"] for row in rows] == ["backtest", "backtest_grid_16", "backtest_ticks"]
    for row in rows:
        assert row["tapelab"] > 0.0
        assert row["floor"] > 0.0
        assert row["peers"] == {"hftbacktest" if row["work"] == "backtest_ticks" else "vectorbt": None}
        assert "left out by --without-peers" in row["note"]
        assert ", 0 trades" not in row["note"]


def test_a_peer_that_fails_is_null_with_its_reason(command: Any, small: None, tmp_path: Any) -> None:
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\necho no such package here >&2\nexec {sys.executable} -c 'raise SystemExit(1)'\n")
    broken.chmod(0o755)
    given = ["--peer-python", str(broken), "--ticks-peer-python", str(broken)]
    *rows, ticks = json.loads(command("bench", "backtest", *given, "--json").out)["rows"]
    assert all(row["peers"] == {"vectorbt": None} for row in rows)
    assert all("vectorbt did not run: no such package here" in row["note"] for row in rows)
    assert ticks["peers"] == {"hftbacktest": None}
    assert "hftbacktest did not run: no such package here" in ticks["note"]


def test_the_book_given_to_the_peer_is_the_one_that_prints_imply() -> None:
    some = backtest_ticks.tape(400)
    bids, asks = {}, {}
    feed = zip(*(some.feed[name].tolist() for name in ("ev", "ts", "px", "qty")), strict=True)
    prints = iter(zip(some.ts.tolist(), some.price.tolist(), some.volume.tolist(), some.side.tolist(), strict=True))
    last: Any = None
    for ev, ts, price, lots in feed:
        buy = bool(ev & (1 << 29))
        if ev & 0xFF == 2:
            if last is not None:
                assert (max(bids), min(asks)) == ((last[0], last[0] + 5.0) if last[1] < 0 else (last[0] - 5.0, last[0]))
            assert next(prints) == (ts, price, lots, 1 if buy else -1)
            last = (price, 1 if buy else -1)
        elif lots == 0.0:
            del (bids if buy else asks)[price]
        else:
            (bids if buy else asks)[price] = lots
    assert next(prints, None) is None
