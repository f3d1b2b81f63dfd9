"""``tapelab bench``: figures and their peers', from one run each."""

from __future__ import annotations

from pathlib import Path
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
    peers_env: Annotated[
        Path, typer.Option(help="Folder of the environments of NautilusTrader and mlfinpy, whose pins clash.")
    ] = Path(".cache/peers"),
    install_peers: Annotated[bool, typer.Option("--install-peers", help="Make those environments first.")] = False,
    as_json: Json = False,
) -> None:
    """Bar and feature kernels against pandas, polars, NautilusTrader, mlfinpy and other peers."""
    from tapelab.cli.bench.kernels import run

    found = run(tape or None, with_peers=not without_peers, peers_env=peers_env, install_peers=install_peers)
    _print(found, as_json)


@app.command()
def pipeline(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A part alone, repeatable: topic_to_bars, latency (or latency_1k, ...), recovery, memory."),
    ] = None,
    broker: Annotated[list[str] | None, typer.Option(help="embedded or kafka, instead of both.")] = None,
    without_peers: Annotated[bool, typer.Option("--without-peers", help="Measure tapelab alone.")] = False,
    peers_env: Annotated[
        Path, typer.Option(help="Folder of the environments of Faust and Quix Streams, made where they are missing.")
    ] = Path(".cache/peers"),
    figure: Annotated[Path | None, typer.Option(help="An SVG file to draw the latency by hop into.")] = None,
    as_json: Json = False,
) -> None:
    """From topic to bars against Faust, Quix Streams and aiokafka; from tick to signal; recovery; memory."""
    from tapelab.cli.bench.pipeline.run import run

    found = run(only or (), broker or (), peers_env=None if without_peers else peers_env, figure=figure)
    _print(found, as_json)


@app.command()
def backtest(
    without_peers: Annotated[bool, typer.Option("--without-peers", help="Measure tapelab alone.")] = False,
    peer_python: Annotated[str, typer.Option(help="A Python with vectorbt, instead of a throw-away one.")] = "",
    ticks_peer_python: Annotated[str, typer.Option(help="A Python with hftbacktest, likewise.")] = "",
    as_json: Json = False,
) -> None:
    """One threshold and grids of 16 and 256 against vectorbt; passive orders on prints against hftbacktest."""
    from tapelab.cli.bench.backtest import run

    found = run(with_peers=not without_peers, peer_python=peer_python, ticks_peer_python=ticks_peer_python)
    _print(found, as_json)
