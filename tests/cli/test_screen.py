"""The live view of a run, on terminals of any size."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from tapelab.cli.up.screen import Screen

UP = dict.fromkeys(("sink", "bars", "features", "inference", "trainer", "api", "ingest"), True)
PAGE = "http://127.0.0.1:8300/dashboard/ai-lab/"


def status(symbols: int) -> dict[str, Any]:
    numbers = {"ticks": 1_147_653, "bars": 41_244, "features": 22_906, "signals": 600}
    symbol = {**numbers, "last_price": 131_250.0, "ticks_per_s": 1024.0, "lag_s": 0.1, "halted": False}
    return {
        "totals": numbers,
        "rates": {f"{name}_per_s": 1000.0 for name in numbers},
        "latency_ms": {"p50": 152.0, "p95": 407.0},
        "champion": {"model_id": "default-37f0d16e", "mode": "live"},
        "challenger": None,
        "symbols": [{"symbol": f"S{i}", **symbol} for i in range(symbols)],
    }


def drawn(height: int, symbols: int, notes: int) -> list[str]:
    console = Console(file=io.StringIO(), width=80, height=height, force_terminal=True)
    screen = Screen(console)
    screen.begin(PAGE)
    for i in range(notes):
        screen.note(f"note {i}: " + "a rule of the gate and its numbers, which take more than one line " * 2)
    screen.phase("playing the rest of the tape; signals flow")
    screen.end()
    lines = console.render_lines(screen.picture(status(symbols), UP, {}), console.options)
    return ["".join(part.text for part in line) for line in lines]


@pytest.mark.parametrize("height", [18, 24, 50])
@pytest.mark.parametrize("symbols", [0, 3, 40])
@pytest.mark.parametrize("notes", [0, 12])
def test_what_matters_is_on_the_screen_whatever_its_size(height: int, symbols: int, notes: int) -> None:
    lines = drawn(height, symbols, notes)
    text = "\n".join(lines)
    assert len(lines) <= height
    for needed in (PAGE, "signals flow", "1,147,653", "default-37f0d16e (live)"):
        assert needed in text
    if notes and height > 18:
        assert f"note {notes - 1}" in text


def test_without_a_terminal_the_page_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.begin(PAGE)
    screen.show(status(1), UP, {})
    assert capsys.readouterr().err.count(PAGE) == 1
