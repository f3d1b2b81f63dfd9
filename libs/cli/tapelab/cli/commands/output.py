"""How commands print: a table for people, JSON for scripts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

_WIDE: Final = 240


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(msgspec.json.encode(value).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """A plain table; ``empty`` is said where there is no row."""
    # Where nobody looks, lines are as long as they must be: a number in two is none.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    if not rows:
        console.print(empty, markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)
