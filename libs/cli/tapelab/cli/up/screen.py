"""The live view: one table in a terminal, plain progress lines elsewhere."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


class Screen:
    """Shows where the run is. Progress goes to standard error, so that standard output is the result."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._phase = ""
        self._notes: list[str] = []

    def phase(self, text: str) -> None:
        """Say what is being done now."""
        self._phase = text
        if self._live is None:
            self._console.print(f"[bold]==[/bold] {text}")

    def note(self, text: str) -> None:
        """Say something that stays on the screen."""
        self._notes.append(text)
        if self._live is None:
            self._console.print(f"   {text}", markup=False)

    def begin(self) -> None:
        """Start the live view where there is a terminal."""
        if sys.stderr.isatty():
            self._live = Live(console=self._console, refresh_per_second=4, transient=False)
            self._live.start()

    def end(self) -> None:
        """Stop the live view and leave its last picture."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, status: dict[str, Any] | None, up: dict[str, bool], restarts: dict[str, int], page: str) -> None:
        """Draw the state of things."""
        if self._live is not None:
            self._live.update(self._picture(status, up, restarts, page))

    def _picture(
        self, status: dict[str, Any] | None, up: dict[str, bool], restarts: dict[str, int], page: str
    ) -> Panel:
        services = Table.grid(padding=(0, 2))
        row: list[Text] = []
        for name, alive in up.items():
            again = f" ({restarts[name]}x restarted)" if restarts.get(name) else ""
            row.append(Text(f"{'●' if alive else '○'} {name}{again}", style="green" if alive else "bold red"))
        services.add_row(*row)
        parts: list[Any] = [Text(self._phase, style="bold"), services]
        if status:
            parts += [self._totals(status), self._symbols(status)]
        parts += [Text(note, style="yellow") for note in self._notes[-8:]]
        parts.append(Text(f"page: {page}    Ctrl-C stops everything", style="cyan"))
        return Panel(Group(*parts), title="tapelab", border_style="blue")

    def _totals(self, status: dict[str, Any]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        columns = ("ticks", "bars", "features", "signals")
        for name in (*columns, "latency p50", "p95", "champion"):
            table.add_column(name, justify="right")
        rates, totals, latency = status["rates"], status["totals"], status["latency_ms"]
        cells = [f"{totals[c]:,} ({rates[f'{c}_per_s']:,.0f}/s)" for c in columns]
        cells += ["-" if latency[p] is None else f"{latency[p]:.0f} ms" for p in ("p50", "p95")]
        model = status["champion"] or status["challenger"]
        cells.append("none yet" if model is None else f"{model['model_id']} ({model['mode']})")
        table.add_row(*cells)
        return table

    def _symbols(self, status: dict[str, Any]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("symbol", "last", "ticks/s", "bars", "features", "signals", "lag"):
            table.add_column(name, justify="left" if name == "symbol" else "right")
        for symbol in status["symbols"]:
            lag = symbol["lag_s"]
            table.add_row(
                symbol["symbol"] + (" HALTED" if symbol["halted"] else ""),
                "-" if symbol["last_price"] is None else f"{symbol['last_price']:g}",
                f"{symbol['ticks_per_s']:,.0f}",
                f"{symbol['bars']:,}",
                f"{symbol['features']:,}",
                f"{symbol['signals']:,}",
                "-" if lag is None else f"{lag:.1f} s",
            )
        return table
