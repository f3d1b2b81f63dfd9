"""Small files and readings that the tests of sources share."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from tapelab.common.sources.protocol import Tape
from tapelab.common.sources.simulator import Simulator, SimulatorOptions
from tapelab.quant.ticks import Ticks

WINFUT_HEADER = "<ticker>,<date>,<time>,<trade_number>,<price>,<qty>,<vol>,<buy_agent>,<sell_agent>,<trade_type>,<aft>"
WINFUT_ROWS = (
    "WINFUT,20261104,090000,10,180000.00,5,900000.00,XP,BTG Pactual,Auction,0",
    "WINFUT,20261104,090001,20,180005.00,1,180005.00,XP,UBS,AggressorBuyer,0",
    "WINFUT,20261104,090001,30,180005.00,2,360010.00,Clear,Clear,RLP,0",
    "WINFUT,20261104,090003,40,180000.00,3,540000.00,UBS,XP,AggressorSeller,0",
    "WINFUT,20261104,090003,50,180010.00,100,18001000.00,XP,XP,CrossTrade,0",
    "WINFUT,20261104,090004,60,180010.00,7,1260070.00,XP,UBS,Surveillance,0",
)


def winfut(path: Path, rows: tuple[str, ...] = WINFUT_ROWS, header: str | None = WINFUT_HEADER) -> Path:
    """A WINFUT file of the given rows."""
    lines = [header, *rows] if header is not None else list(rows)
    path.write_text("\n".join(lines) + "\n")
    return path


def read(tape: Tape) -> dict[str, Ticks]:
    """All prints of a tape by symbol."""
    parts: dict[str, list[Ticks]] = {}
    for chunk in tape.chunks():
        parts.setdefault(chunk.symbol, []).append(chunk.ticks)
    return {symbol: Ticks.concatenate(ticks) for symbol, ticks in parts.items()}


def only(tape: Tape) -> Ticks:
    """The prints of a tape of one symbol."""
    ((_, ticks),) = read(tape).items()
    return ticks


def same(a: Ticks, b: Ticks) -> bool:
    """Whether two runs of prints are equal in every column."""
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def digest(tape: Tape) -> str:
    """Hash over every column of every print, symbol by symbol."""
    total = hashlib.sha256()
    for symbol, ticks in sorted(read(tape).items()):
        total.update(symbol.encode())
        for column in ticks:
            total.update(column.tobytes())
    return total.hexdigest()


def simulated(**options: object) -> Simulator:
    """A short simulated tape: two days of six minutes."""
    return Simulator(SimulatorOptions(**{"days": 2, "hours": 0.1, **options}))  # type: ignore[arg-type]
