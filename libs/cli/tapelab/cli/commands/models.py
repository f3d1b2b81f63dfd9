"""``tapelab models``: the registry and its pointers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import typer

from tapelab.cli.commands.connect import connected, run
from tapelab.cli.commands.output import print_json, print_table
from tapelab.common.errors import RegistryError
from tapelab.common.storage.registry import ModelRow, told_retirement

app = typer.Typer(no_args_is_help=True, help="List, show, promote and roll back models.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _summary(row: ModelRow) -> dict[str, object]:
    return {
        "model_id": row.model_id,
        "digest": row.digest,
        "backend": row.manifest.backend,
        "bar_spec": row.manifest.bar_spec,
        "feature_set": row.manifest.feature_set,
        "gate_passed": row.passed,
        "created_ns": str(row.created_ns),
    }


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Every registered model, newest first, and where the pointers are."""

    async def work() -> None:
        async with connected() as stack:
            models = [_summary(row) for row in await stack.registry.models()]
            pointers = await stack.registry.pointers()
        if as_json:
            print_json({"models": models, "pointers": pointers})
            return
        at = {p.model_id: f"{p.role} ({p.mode})" for p in pointers}
        rows = [
            (
                m["model_id"],
                m["backend"],
                m["bar_spec"],
                "passed" if m["gate_passed"] else "refused",
                at.get(str(m["model_id"]), ""),
            )
            for m in models
        ]
        print_table(
            ("model", "backend", "bars", "gate", "pointer"),
            rows,
            empty="no model yet: run 'tapelab up' or 'tapelab train'",
        )

    run(work())


@app.command()
def show(model_id: str, as_json: Json = False) -> None:
    """A model's manifest and the gate's rules with their numbers."""

    async def work() -> ModelRow:
        async with connected() as stack:
            return await stack.registry.model(model_id)

    row = run(work())
    if as_json:
        print_json({**_summary(row), "manifest": row.manifest, "gate": row.gate})
        return
    print(msgspec.json.format(msgspec.json.encode(row.manifest), indent=2).decode())
    rows = [("pass" if r.passed else "FAIL", r.id, r.value, r.limit, r.reason) for r in row.gate or ()]
    print_table(("gate", "rule", "value", "limit", "reason"), rows, empty="the gate has not judged this model")


@app.command()
def promote(
    model_id: str,
    mode: Annotated[Literal["live", "canary", "shadow"], typer.Option(help="How its signals are marked.")] = "live",
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "promoted by hand",
) -> None:
    """Point the champion (or, as a shadow, the challenger) to a model. A refused model may only be a shadow."""

    async def work() -> None:
        async with connected() as stack:
            model = await stack.registry.model(model_id)
            if mode != "shadow" and not model.passed:
                failed = ", ".join(r.id for r in model.gate or () if not r.passed) or "it was never judged"
                raise RegistryError(
                    f"{model_id} may not go {mode}",
                    expected="a model that passed every rule of the gate",
                    actual=f"failed: {failed}",
                    remedy="use --mode shadow, or train a better one",
                )
            role: Literal["champion", "challenger"] = "challenger" if mode == "shadow" else "champion"
            pointer = await stack.registry.set_pointer(role, model_id, mode, reason=reason)
        print(f"{pointer.role} is now {pointer.model_id} ({pointer.mode})")

    run(work())


@app.command()
def rollback(
    role: Annotated[Literal["champion", "challenger"], typer.Option()] = "champion",
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")] = "rolled back by hand",
    force: Annotated[
        bool, typer.Option("--force", help="Also to a model that a run's start retired; it may have seen the tape.")
    ] = False,
) -> None:
    """Point a role back to what it pointed to before."""

    async def work() -> None:
        async with connected() as stack:
            undone = await stack.registry.retirement_undone(role)
            pointer = await stack.registry.rollback(role, reason=reason, retired_too=force)
        print(f"{pointer.role} is now {pointer.model_id} ({pointer.mode})")
        if undone is not None:
            print(f"note: it is {told_retirement(undone)}")

    run(work())


@app.command()
def history(as_json: Json = False) -> None:
    """Every change of a pointer, newest first."""

    async def work() -> None:
        async with connected() as stack:
            changes = await stack.registry.history()
        if as_json:
            print_json(changes)
            return
        rows = [
            (
                c.pointer.version,
                c.action,
                c.pointer.role,
                c.pointer.symbol,
                c.pointer.model_id,
                c.pointer.mode,
                c.reason,
            )
            for c in changes
        ]
        print_table(("version", "action", "role", "symbol", "model", "mode", "reason"), rows, empty="no change yet")

    run(work())
