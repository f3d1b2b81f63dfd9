"""The live view: one table in a terminal, plain progress lines elsewhere."""

from __future__ import annotations

import sys
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

#: Notes that are shown at most, and the lines of the frame.
_NOTES: Final = 12
_FRAME: Final = 2


class Screen:
    """Shows where the run is. Progress goes to standard error, so that standard output is the result."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._phase = ""
        self._notes: list[str] = []
        self._page = ""

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

    def begin(self, page: str) -> None:
        """Start the live view where there is a terminal; elsewhere say once where the page is."""
        self._page = page
        if not sys.stderr.isatty():
            self.note(f"page: {page}")
        else:
            self._live = Live(console=self._console, refresh_per_second=4, transient=False)
            self._live.start()

    def end(self) -> None:
        """Stop the live view and leave its last picture."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, status: dict[str, Any] | None, up: dict[str, bool], restarts: dict[str, int]) -> None:
        """Draw the state of things."""
        if self._live is not None:
            self._live.update(self.picture(status, up, restarts))

    def picture(self, status: dict[str, Any] | None, up: dict[str, bool], restarts: dict[str, int]) -> Panel:
        """The live view. What has no room gives way: older notes first, then symbols; never phase, page or totals."""
        services = Table.grid(padding=(0, 2))
        row: list[Text] = []
        for name, alive in up.items():
            again = f" ({restarts[name]}x restarted)" if restarts.get(name) else ""
            row.append(Text(f"{'●' if alive else '○'} {name}{again}", style="green" if alive else "bold red"))
        services.add_row(*row)
        head: list[Any] = [
            Text(self._phase, style="bold"),
            Text(f"page: {self._page}    Ctrl-C stops everything", style="cyan"),
            services,
        ]
        symbols = status["symbols"] if status else []
        if status:
            model = status["champion"] or status["challenger"]
            named = "none yet" if model is None else f"{model['model_id']} ({model['mode']})"
            head += [self._totals(status), Text(f"model: {named}")]
        room = self._console.height - self._lines(head) - _FRAME
        notes = [Text(note, style="yellow") for note in self._notes[-_NOTES:]]
        # Half of the room is the notes' to begin with, what they leave is the symbols', and the other way round.
        wanted = len(symbols) + 1 if symbols else 0
        while notes and self._lines(notes) > max(room - wanted, room // 2, 1):
            notes = notes[1:]
        shown = max(0, min(len(symbols), room - self._lines(notes) - 1))
        if shown:
            head.append(self._symbols(symbols[:shown]))
        return Panel(Group(*head, *notes), title="tapelab", border_style="blue")

    def _lines(self, parts: list[Any]) -> int:
        """Lines that the parts take within the frame."""
        options = self._console.options.update(width=max(1, self._console.width - 4))
        return sum(len(self._console.render_lines(part, options)) for part in parts)

    def _totals(self, status: dict[str, Any]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        columns = ("ticks", "bars", "features", "signals")
        for name in (*columns, "latency p50", "p95"):
            table.add_column(name, justify="right")
        rates, totals, latency = status["rates"], status["totals"], status["latency_ms"]
        cells = [f"{totals[c]:,} ({rates[f'{c}_per_s']:,.0f}/s)" for c in columns]
        cells += ["-" if latency[p] is None else f"{latency[p]:.0f} ms" for p in ("p50", "p95")]
        table.add_row(*cells)
        return table

    def _symbols(self, symbols: list[dict[str, Any]]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("symbol", "last", "ticks/s", "bars", "features", "signals", "lag"):
            table.add_column(name, justify="left" if name == "symbol" else "right")
        for symbol in symbols:
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
