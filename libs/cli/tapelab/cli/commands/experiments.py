"""``tapelab experiments``: what the trainer works on, worked on, and how to stop it."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from tapelab.cli.commands.connect import Stack, connected, run
from tapelab.cli.commands.output import print_json, print_table
from tapelab.common.clock import SystemClock
from tapelab.common.storage.jobs import Experiment, ExperimentSummary, Jobs

app = typer.Typer(no_args_is_help=True, help="List, show and stop experiments.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _jobs(stack: Stack) -> Jobs:
    return Jobs(stack.pool, SystemClock())


def _plain(row: Experiment | ExperimentSummary) -> dict[str, object]:
    """JSON types; nanoseconds as texts, because many readers of JSON round them."""
    fields: dict[str, object] = msgspec.to_builtins(row)
    return {k: str(v) if k.endswith("_ns") and v is not None else v for k, v in fields.items()}


@app.command("list")
def list_experiments(
    limit: Annotated[int, typer.Option(min=1, max=500, help="So many of the newest.")] = 50, as_json: Json = False
) -> None:
    """Experiments, newest first."""

    async def work() -> list[ExperimentSummary]:
        async with connected() as stack:
            return await _jobs(stack).summaries(limit)

    rows = run(work())
    if as_json:
        print_json([_plain(row) for row in rows])
        return
    print_table(
        ("experiment", "name", "status", "progress", "stage", "gate", "model"),
        [
            (row.id, row.name, row.status, f"{row.progress:.0%}", row.stage, _gate(row), row.model_id or "")
            for row in rows
        ],
        empty="no experiment yet: run 'tapelab up', or start one at the page",
    )


@app.command()
def show(id: str, as_json: Json = False) -> None:
    """An experiment's status, configuration, result and events."""

    async def work() -> tuple[Experiment, list[dict[str, object]]]:
        async with connected() as stack:
            jobs = _jobs(stack)
            row = await jobs.get(id)
            return row, [msgspec.to_builtins(event) for event in await jobs.events(id)]

    row, events = run(work())
    shown = {**_plain(row), "events": [{**event, "ts_ns": str(event["ts_ns"])} for event in events]}
    if as_json:
        print_json(shown)
    else:
        print(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())


@app.command()
def stop(
    id: str,
    reason: Annotated[str, typer.Option(help="Why; kept with the experiment.")] = "stopped by hand",
    as_json: Json = False,
) -> None:
    """Stop an experiment that is queued or running; nothing of it is registered."""

    async def work() -> Experiment:
        async with connected() as stack:
            return (await _jobs(stack).stop(id, reason))[0]

    row = run(work())
    if as_json:
        print_json(_plain(row))
    else:
        print(f"stopped {row.id} ({row.name}): {reason}")


def _gate(row: ExperimentSummary) -> str:
    return "" if row.gate is None else "passed" if row.gate.get("passed") else "refused"
