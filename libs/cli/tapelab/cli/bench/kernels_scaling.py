"""How the cost of bars grows: with the tape, with the number of symbols, and what a start costs."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any, Final

import numpy as np

from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.plain import compute_plain_bars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.ticks import Ticks

LENGTHS: Final = (100_000, 1_000_000, 10_000_000)
SYMBOLS: Final = (1, 10, 100)
CHUNK: Final = 4_096
_ALWAYS: Final = SessionCalendar(timezone="UTC", open="00:00", close="24:00", weekdays=range(7))

#: A process of its own: imports, loads the compiled kernel from the disk cache, closes a bar.
_FIRST_BAR: Final = """
import time
started = time.perf_counter()
from tapelab.cli.bench.kernels import synthetic_tape
from tapelab.cli.bench.kernels_scaling import first_bar
first_bar(synthetic_tape(1_000))
print(time.perf_counter() - started)
"""


def first_bar(ticks: Ticks) -> None:
    """Close a bar with a fresh builder."""
    (bars,) = BarBuilder([BarSpec("tick", 100)], _ALWAYS, range(256)).update(ticks, 0)
    assert len(bars) > 0


def rows(ticks: Ticks, spec: BarSpec) -> list[dict[str, Any]]:
    """Rows of the bench over growing tapes and numbers of symbols, and the cold start."""
    found = []
    for length in LENGTHS:
        repeated = _repeat(ticks, length)
        for work, compute in (("volume_bars", compute_plain_bars), ("volume_bars_full", compute_bars)):
            compute(repeated.slice(0, 10_000), spec, _ALWAYS, range(256))
            started = time.perf_counter()
            compute(repeated, spec, _ALWAYS, range(256))
            rate = repeated.n / (time.perf_counter() - started) / 1e6
            found.append(_row(f"{work}_n{length}", "M ticks/s", rate, f"{spec}, {length} prints, one pass"))
    total = min(ticks.n, LENGTHS[1])
    for symbols in SYMBOLS:
        builders = [BarBuilder([spec], _ALWAYS, range(256)) for _ in range(symbols)]
        each = total // symbols
        started = time.perf_counter()
        for position in range(0, each, CHUNK):
            chunk = ticks.slice(position, min(position + CHUNK, each))
            for builder in builders:
                builder.update(chunk, position)
        rate = each * symbols / (time.perf_counter() - started) / 1e6
        note = f"{spec}, {symbols} builders in turns, chunks of {CHUNK}, {each * symbols} prints in all"
        found.append(_row(f"volume_bars_symbols{symbols}", "M ticks/s", rate, note))
    command = [sys.executable, "-c", _FIRST_BAR]
    subprocess.run(command, capture_output=True, check=True)  # fills the cache where it is empty
    seconds = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    note = "imports and first bar in a new process, compiled kernels from the disk cache"
    found.append(_row("cold_start", "s", seconds, note, higher_is_better=False))
    return found


def _row(work: str, unit: str, figure: float, note: str, *, higher_is_better: bool = True) -> dict[str, Any]:
    return {
        "work": work,
        "unit": unit,
        "higher_is_better": higher_is_better,
        "tapelab": round(figure, 3),
        "peers": {},
        "floor": None,
        "note": note,
    }


def _repeat(ticks: Ticks, length: int) -> Ticks:
    """The tape again and again up to a length, in order of time within one day."""
    if ticks.n >= length:
        return ticks.slice(0, length)
    whole = Ticks._make(np.resize(column, length) for column in ticks)
    first, last = int(ticks.ts_event_ns[0]), int(ticks.ts_event_ns[-1])
    times = first + np.arange(length) * max((last - first) // length, 1)
    return whole._replace(ts_event_ns=times)
