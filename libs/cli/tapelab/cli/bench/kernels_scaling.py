"""How the cost of bars grows: with the tape, with the number of symbols, and what a start costs."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, Final

from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.plain import PlainBars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.ticks import Ticks

#: Prints of the tapes; the full builder stops one earlier, so that the bench stays a matter of seconds.
LENGTHS: Final = (100_000, 1_000_000, 10_000_000, 100_000_000)
SYMBOLS: Final = (1, 10, 100)
#: Prints of all symbols together, and of one call.
SYMBOL_PRINTS: Final = 1_000_000
CHUNK: Final = 4_096
#: Prints a growing tape is read at a time.
PIECE: Final = 65_536
_DAY_NS: Final = 86_400_000_000_000
_ALWAYS: Final = SessionCalendar(timezone="UTC", open="00:00", close="24:00", weekdays=range(7))

Update = Callable[[Ticks, int], Any]

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
    """Rows of the bench over growing tapes and numbers of symbols, the memory they take, and the cold start."""
    builders: dict[str, Callable[[], Update]] = {
        "volume_bars": lambda: PlainBars(spec, _ALWAYS, range(256)).update,
        "volume_bars_full": lambda: BarBuilder([spec], _ALWAYS, range(256)).update,
    }
    found = []
    for work, build in builders.items():
        for length in LENGTHS if work == "volume_bars" else LENGTHS[:-1]:
            rate = length / _seconds(ticks, length, build()) / 1e6
            note = f"{spec}, {length} prints, one builder, {PIECE} prints a call, made outside the timing"
            found.append(_row(f"{work}_n{length}", "M ticks/s", rate, note))
    for length in (LENGTHS[1], LENGTHS[-1]):
        found.append(_memory_row(ticks, spec, length, builders["volume_bars"]))
    for work, build in builders.items():
        for symbols in SYMBOLS:
            rate, prints = _symbols(ticks, symbols, build)
            note = f"{spec}, {symbols} builders in turns, chunks of {CHUNK}, {prints} prints in all"
            found.append(_row(f"{work}_symbols{symbols}", "M ticks/s", rate, note))
    command = [sys.executable, "-c", _FIRST_BAR]
    subprocess.run(command, capture_output=True, check=True)  # fills the cache where it is empty
    seconds = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    note = "imports and first bar in a new process, compiled kernels from the disk cache"
    found.append(_row("cold_start", "s", seconds, note, higher_is_better=False))
    return found


def _seconds(ticks: Ticks, length: int, update: Update) -> float:
    """What taking a tape of this length costs."""
    update(ticks.slice(0, 1), 0)
    seconds = 0.0
    for piece, first_seq in _pieces(ticks, length):
        started = time.perf_counter()
        update(piece, first_seq)
        seconds += time.perf_counter() - started
    return seconds


def _memory_row(ticks: Ticks, spec: BarSpec, length: int, build: Callable[[], Update]) -> dict[str, Any]:
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        _seconds(ticks, length, build())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    note = (
        f"{spec}, {length} prints, peak of all that the builder, its bars and the pieces of {PIECE} prints take "
        f"(tracemalloc); the process's largest resident size grew by {grown} KiB"
    )
    return _row(f"volume_bars_memory_n{length}", "MB", peak / 1e6, note, higher_is_better=False)


def _symbols(ticks: Ticks, symbols: int, build: Callable[[], Update]) -> tuple[float, int]:
    """(M prints/s, prints) of several builders that take the same prints in turns."""
    each = min(ticks.n, SYMBOL_PRINTS) // symbols
    updates = [build() for _ in range(symbols)]
    for update in updates:
        update(ticks.slice(0, 1), 0)
    started = time.perf_counter()
    for position in range(0, each, CHUNK):
        chunk = ticks.slice(position, min(position + CHUNK, each))
        for update in updates:
            update(chunk, position)
    return each * symbols / (time.perf_counter() - started) / 1e6, each * symbols


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


def _pieces(ticks: Ticks, length: int) -> Iterator[tuple[Ticks, int]]:
    """A tape of any length in pieces, each with its first number: these prints day after day."""
    period_ns = (int(ticks.ts_event_ns[-1] - ticks.ts_event_ns[0]) // _DAY_NS + 1) * _DAY_NS
    taken = day = 0
    while taken < length:
        stop = min(ticks.n, length - taken)
        for at in range(0, stop, PIECE):
            piece = ticks.slice(at, min(at + PIECE, stop))
            yield piece._replace(ts_event_ns=piece.ts_event_ns + day * period_ns), taken + at
        taken += stop
        day += 1
