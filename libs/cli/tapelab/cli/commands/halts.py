"""``tapelab halt`` and ``tapelab resume``."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tapelab.cli.commands.connect import connected, run
from tapelab.common.clock import SystemClock
from tapelab.common.errors import ConfigError, TapelabError
from tapelab.common.instruments import load_instruments
from tapelab.common.storage.halts import ALL_SYMBOLS, Halt, clear_halt, read_halts, set_halt
from tapelab.common.storage.streams import seen_symbols

Symbol = Annotated[str, typer.Argument(help="Symbol, or * for all.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(halt)
    app.command()(resume)


def halt(
    symbol: Symbol = "*",
    reason: Annotated[str, typer.Option(help="Why; it rides on the closing signals.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Halt a symbol also if nobody knows it.")] = False,
) -> None:
    """Close positions at the next vector and open none until resumed."""
    if not reason:
        raise typer.BadParameter("expected a reason, got none; say why with --reason TEXT")

    async def work() -> None:
        async with connected() as stack:
            if symbol != ALL_SYMBOLS and not force:
                _check_known(symbol, await seen_symbols(stack.pool), stack.settings.config_dir)
            entry = Halt(reason=reason, by=getpass.getuser(), set_ns=SystemClock().now_ns())
            await set_halt(stack.redis, symbol, entry, stack.settings.namespace)

    run(work())
    print(f"halted {symbol}: {reason}")


def _check_known(symbol: str, seen: Sequence[str], config_dir: str) -> None:
    """Refuse a symbol that is most likely misspelt: a halt of it would close nothing.

    Raises:
        TapelabError: the stack has seen no print of it, and no instrument is named so.
    """
    if symbol in seen:
        return
    try:
        instruments = load_instruments(config_dir)
        patterns = ", ".join(instrument.symbols for instrument in instruments.instruments)
        named = instruments.names(symbol)
    except ConfigError as error:  # a halt must not fail for a file that it can do without
        patterns, named = str(error), False
    shown = ", ".join(seen) or "none"
    if not named:
        raise TapelabError(
            f"nothing is halted: nobody knows the symbol {symbol!r}",
            expected=f"a symbol that the stack has seen ({shown}) or that instruments.yaml names ({patterns})",
            actual=symbol,
            remedy="correct it, or halt it all the same with --force",
        )
    print(f"note: the stack has seen no print of {symbol} yet, only of: {shown}", file=sys.stderr)


def resume(symbol: Symbol = "*") -> None:
    """End a halt."""

    async def work() -> tuple[bool, list[str]]:
        async with connected() as stack:
            ended = await clear_halt(stack.redis, symbol, stack.settings.namespace)
            return ended, [] if ended else list(await read_halts(stack.redis, stack.settings.namespace))

    ended, halted = run(work())
    print(f"resumed {symbol}" if ended else f"{symbol} was not halted; halted: {', '.join(halted) or 'none'}")
