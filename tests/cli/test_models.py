"""A rollback says what it brings back."""

from __future__ import annotations

import asyncio

from tapelab.cli.commands.connect import connected
from tests.common.storage.manifests import manifest

REASON = "a run reads its source from the start"


async def _earlier_run_then(*models: str) -> None:
    """A run whose champion is ``old``, and one after it with these."""
    async with connected() as stack:
        for name in ("old", *models):
            await stack.registry.add_model(manifest(name), None)
        await stack.registry.set_pointer("champion", "old", "live", reason="1")
        await stack.registry.retire("champion", reason=REASON)
        for name in models:
            await stack.registry.set_pointer("champion", name, "live", reason="2")


def test_a_rollback_behind_a_runs_start_needs_force_and_says_so(command, storage) -> None:
    asyncio.run(_earlier_run_then("new"))
    done = command("models", "rollback")
    assert done.code == 1
    (line,) = done.err.splitlines()
    for said in ("old", "retired on 20", REASON, "force"):
        assert said in line
    assert '"new"' in command("models", "list", "--json").out.partition("pointers")[2]
    forced = command("models", "rollback", "--force")
    assert forced.code == 0
    assert forced.out.startswith("champion is now old (live)\nnote: it is from before the role was retired on 20")
    assert REASON in forced.out


def test_a_rollback_within_a_run_needs_no_force(command, storage) -> None:
    asyncio.run(_earlier_run_then("first", "second"))
    assert command("models", "rollback") == (0, "champion is now first (live)\n", "")
    assert command("models", "rollback").code == 1
