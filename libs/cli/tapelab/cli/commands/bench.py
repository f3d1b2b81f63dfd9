"""``tapelab bench``: figures and their peers', from one run each."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tapelab.cli.commands.output import print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Measure against peers, in one run, on this machine.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tape = Annotated[str, typer.Option(help="A tape to measure on instead of the synthetic one.")]


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    rows = [
        (
            r["work"],
            r["unit"],
            _figure(r["tapelab"]),
            _peers(r["peers"]),
            r["note"],
        )
        for r in result["rows"]
    ]
    print_table(("work", "unit", "tapelab", "peers", "note"), rows, empty="nothing measured")


def _peers(peers: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {_figure(value)}" for name, value in peers.items())


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}"


@app.command()
def kernels(
    tape: Tape = "",
    without_peers: Annotated[bool, typer.Option("--without-peers", help="Measure tapelab alone.")] = False,
    as_json: Json = False,
) -> None:
    """Bar and feature kernels against their peers."""
    from tapelab.cli.bench.kernels import run

    _print(run(tape or None, with_peers=not without_peers), as_json)


@app.command()
def pipeline(as_json: Json = False) -> None:
    """From topic to bars, and from tick to signal."""
    from tapelab.cli.bench.pipeline import run

    _print(run(), as_json)
