"""``tapelab halt`` and ``tapelab resume``."""

from __future__ import annotations

import asyncio
import getpass
import sys
from typing import Annotated, Final

import typer

from tapelab.cli.commands.connect import Stack, connected, run
from tapelab.common.clock import SystemClock
from tapelab.common.errors import ConfigError, TapelabError
from tapelab.common.instruments import load_instruments
from tapelab.common.storage.halts import ALL_SYMBOLS, Halt, Halts, Written
from tapelab.common.storage.postgres import is_away
from tapelab.common.storage.streams import seen_symbols

Symbol = Annotated[str, typer.Argument(help="Symbol, or * for all.")]
#: How long the check of a symbol may hold up its halt.
_CHECK_S: Final = 1.5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(halt)
    app.command()(resume)


def halt(
    symbol: Symbol = "*",
    reason: Annotated[str, typer.Option(help="Why; it rides on the closing signals.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Halt a symbol also if nobody knows it.")] = False,
) -> None:
    """Close positions at the next vector and open none until resumed.

    One of PostgreSQL and Redis is enough; what the other one missed is said, and made up for by the gateway.
    """
    if not reason:
        raise typer.BadParameter("expected a reason, got none; say why with --reason TEXT")

    async def work() -> Written:
        async with connected(lazy=True) as stack:
            if symbol != ALL_SYMBOLS and not force:
                await _check_known(symbol, stack)
            return await Halts(stack.pool, stack.redis, stack.settings.namespace).halt(symbol, _entry(reason))

    written = run(work())
    print(f"halted {symbol}: {reason}")
    if written.warning:
        print(f"warning: {written.warning}", file=sys.stderr)


def _entry(reason: str) -> Halt:
    return Halt(reason=reason, by=getpass.getuser(), set_ns=SystemClock().now_ns())


async def _check_known(symbol: str, stack: Stack) -> None:
    """Refuse a symbol that is most likely misspelt: a halt of it would close nothing.

    Raises:
        TapelabError: the stack has seen no print of it, and no instrument is named so.
    """
    try:
        async with asyncio.timeout(_CHECK_S):
            seen = await seen_symbols(stack.pool)
    except Exception as error:
        if not is_away(error):
            raise
        return  # nobody can say which symbols there are, and an emergency stop must not wait for that
    if symbol in seen:
        return
    try:
        instruments = load_instruments(stack.settings.config_dir)
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


def resume(
    symbol: Symbol = "*", reason: Annotated[str, typer.Option(help="Why; kept in the history of halts.")] = ""
) -> None:
    """End a halt."""

    async def work() -> tuple[bool, Written, list[str]]:
        async with connected(lazy=True) as stack:
            halts = Halts(stack.pool, stack.redis, stack.settings.namespace)
            ended, written = await halts.resume(symbol, _entry(reason))
            return ended, written, [] if ended else list(await halts.current())

    ended, written, halted = run(work())
    print(f"resumed {symbol}" if ended else f"{symbol} was not halted; halted: {', '.join(halted) or 'none'}")
    if written.not_current is not None:
        print(
            f"warning: Redis does not answer ({written.not_current}); {symbol} is taken up again when it is",
            file=sys.stderr,
        )
