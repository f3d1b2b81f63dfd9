"""``tapelab halt`` and ``tapelab resume``."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from tapelab.cli.commands.connect import connected, run
from tapelab.common.clock import SystemClock
from tapelab.common.storage.halts import Halt, clear_halt, set_halt

Symbol = Annotated[str, typer.Argument(help="Symbol, or * for all.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(halt)
    app.command()(resume)


def halt(
    symbol: Symbol = "*", reason: Annotated[str, typer.Option(help="Why; it rides on the closing signals.")] = ""
) -> None:
    """Close positions at the next vector and open none until resumed."""
    if not reason:
        raise typer.BadParameter("expected a reason, got none; say why with --reason TEXT")

    async def work() -> None:
        async with connected() as stack:
            entry = Halt(reason=reason, by=getpass.getuser(), set_ns=SystemClock().now_ns())
            await set_halt(stack.redis, symbol, entry, stack.settings.namespace)

    run(work())
    print(f"halted {symbol}: {reason}")


def resume(symbol: Symbol = "*") -> None:
    """End a halt."""

    async def work() -> bool:
        async with connected() as stack:
            return await clear_halt(stack.redis, symbol, stack.settings.namespace)

    print(f"resumed {symbol}" if run(work()) else f"{symbol} was not halted")
