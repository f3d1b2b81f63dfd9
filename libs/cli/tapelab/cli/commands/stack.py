"""``tapelab up``, ``down``, ``status`` and ``init``."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Final, Literal

import httpx
import typer

from tapelab.cli.commands.connect import run, stack_settings
from tapelab.cli.commands.output import print_json, print_table
from tapelab.cli.init import initialise
from tapelab.cli.stack.layout import default_layout
from tapelab.common.clock import SystemClock
from tapelab.common.errors import ConfigError, TapelabError

_DOWN_S: Final = 60.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(init)


def up(
    tape: Annotated[Path | None, typer.Option(help="A real tape: a file or a folder of files.")] = None,
    format: Annotated[str, typer.Option(help="The tape's format, where it is not recognised.")] = "",
    source: Annotated[Literal["simulator", "file", "ticks_raw", ""], typer.Option(help="Where prints come from.")] = "",
    dsn: Annotated[str, typer.Option(help="PostgreSQL with the ticks_raw table to follow.")] = "",
    broker: Annotated[Literal["embedded", "kafka"], typer.Option(help="kafka runs Apache Kafka.")] = "embedded",
    speed: Annotated[str, typer.Option(help="Replay speed after the cut: 1, 60, ... or max.")] = "60",
    seed: Annotated[int, typer.Option(help="Seed of the simulator.")] = 7,
    cut: Annotated[float, typer.Option(min=0.1, max=0.95, help="Part of the tape that trains.")] = 0.75,
    port: Annotated[
        int, typer.Option(min=1024, max=65535, help="Port of the page; the next free one if it is taken.")
    ] = 8300,
    experiment: Annotated[Path, typer.Option(help="What to train.")] = Path("config/experiments/default.yaml"),
    keep_replays: Annotated[int, typer.Option(min=0, help="Earlier replays whose prints stay in ticks_raw.")] = 3,
    exit_after_signals: Annotated[int, typer.Option(min=0, help="Verify, print a summary and exit.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON line.")] = False,
) -> None:
    """Run the main job on a local stack: play a tape, train, gate, and let signals flow."""
    from tapelab.cli.up.job import check
    from tapelab.cli.up.options import UpOptions
    from tapelab.cli.up.run import up as run_up
    from tapelab.cli.up.screen import Screen

    kind = source or ("file" if tape is not None else "simulator")
    if kind == "file" and tape is None:
        raise ConfigError("no tape", expected="--tape PATH with --source file", actual="none", remedy="give a path")
    if tape is not None and not tape.exists():
        raise ConfigError("no such tape", expected="a file or folder", actual=str(tape), remedy="check the path")
    if format and kind != "file":
        raise ConfigError(
            "no tape to read in that format",
            expected="--tape PATH with --format",
            actual=f"--format {format} and no tape",
            remedy="give a path, or leave --format away",
        )
    if not _is_speed(speed):
        raise ConfigError(
            f"--speed {speed!r} is no speed", expected="a number above 0, or max", actual=speed, remedy="correct it"
        )
    if kind == "ticks_raw" and not dsn:
        raise ConfigError(
            "no database", expected="--dsn with --source ticks_raw", actual="none", remedy="give postgresql://..."
        )
    options = UpOptions(
        source=kind,
        tape=tape,
        format=format,
        dsn=dsn,
        broker=broker,
        speed=speed,
        seed=seed,
        cut=cut,
        port=port,
        experiment=experiment,
        keep_replays=keep_replays,
        exit_after_signals=exit_after_signals,
        as_json=as_json,
        config_dir=Path(os.environ.get("TAPELAB_CONFIG_DIR", "config")),
    )
    # A pool that loses its database says so by itself, with a traceback; the run says it in a line.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what the broker's outages do is said by the services
    result = asyncio.run(run_up(options, default_layout(), SystemClock(), Screen()))
    if result is None:
        if exit_after_signals:
            raise typer.Exit(130)  # a script that asked for the summary must not take its absence for success
        return
    print_json(result)
    check(result)


def _is_speed(text: str) -> bool:
    try:
        return text == "max" or 0 < float(text) < math.inf
    except ValueError:
        return False


def down() -> None:
    """Stop the local stack that runs, or what a killed one has left behind."""
    layout = default_layout()
    owner = layout.owner()
    if owner is None:
        left = False
        if layout.postgres.is_dir():
            # What the embedded stack needs is not installed where only the client is.
            from tapelab.cli.stack.postgres import stop_orphan

            with layout.owned():  # so that no stack starts on it meanwhile
                left = stop_orphan(layout.postgres)
        print("stopped PostgreSQL, which a killed run had left behind" if left else "no stack is running")
        return
    os.kill(owner, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_S
    while layout.owner() == owner:
        if time.monotonic() > deadline:
            raise TapelabError(
                "the stack does not stop",
                expected=f"process {owner} to end within {_DOWN_S:g} s",
                actual="it still runs",
                remedy=f"look at {layout.logs}",
            )
        time.sleep(0.1)
    print("stopped")


def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """What runs, how fast, how far behind."""
    layout = default_layout()
    stack = layout.read()
    if stack is None:
        starting = layout.owner() is not None
        if as_json:
            print_json({"running": False, "starting": starting})
        else:
            print("the stack is starting" if starting else "no stack is running: 'make up' starts one")
        raise typer.Exit(3)
    broker = stack.environ["TAPELAB_BROKER"]
    try:
        answer = httpx.get(stack.page.replace("/dashboard/ai-lab/", "/ml/data/status"), timeout=5.0)
        answer.raise_for_status()
        data = answer.json()
    except httpx.HTTPError as error:
        raise TapelabError(
            "the gateway does not answer",
            expected=f"data status at {stack.page}",
            actual=str(error),
            remedy=f"it may still be starting; its log is {layout.logs / 'api.log'}",
        ) from error
    if as_json:
        print_json({"running": True, "pid": stack.pid, "page": stack.page, "broker": broker, **data})
        return
    print(f"page:   {stack.page}")
    print(f"broker: {broker}")
    print_table(
        ("service", "up", "ready", "detail"),
        [(s["name"], s["up"], s["ready"], s["detail"]) for s in data["services"]],
        empty="no service",
    )
    print_table(
        ("symbol", "ticks", "ticks/s", "bars", "features", "signals", "halted"),
        [
            (s["symbol"], s["ticks"], f"{s['ticks_per_s']:.0f}", s["bars"], s["features"], s["signals"], s["halted"])
            for s in data["symbols"]
        ],
        empty="no symbol yet",
    )


def init() -> None:
    """Create what is missing of topics and database schema on the stack that the environment names."""
    created = run(initialise(stack_settings()))
    print(f"created {len(created)} topics; the schema is up to date", file=sys.stderr)
