"""``tapelab dlq``: records that could not be processed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
import typer

from tapelab.cli.commands.connect import connected, run, stack_settings
from tapelab.cli.commands.output import print_json, print_table
from tapelab.cli.dead_letters import DEAD_LETTERED, Letter, described, find, letters
from tapelab.cli.replay_letter import Plan, plan_replay, replay
from tapelab.common.clock import SystemClock
from tapelab.common.errors import TapelabError

app = typer.Typer(no_args_is_help=True, help="List, show and replay dead letters.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.command("list")
def list_letters(
    topic: Annotated[str, typer.Option(help="Only those of this topic.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest; 0 for all.")] = 200,
    since: Annotated[str, typer.Option(help="Only newer ones: 30m, 2h, 1d, or a time 2026-11-21T09:00.")] = "",
    as_json: Json = False,
) -> None:
    """Dead letters with their reasons, oldest first. With --json one array, written as it is read."""
    if topic and topic not in DEAD_LETTERED:
        raise typer.BadParameter(f"expected one of {', '.join(DEAD_LETTERED)}, got {topic}", param_hint="--topic")
    names = [topic] if topic else list(DEAD_LETTERED)
    since_ms = _since_ms(since)

    async def found() -> AsyncIterator[Letter]:
        async for letter in letters(stack_settings(), names, newest=limit or None, since_ms=since_ms):
            yield letter

    async def work() -> list[Letter]:
        kept: list[Letter] = []
        if as_json and not limit:
            separator = "["
            async for letter in found():
                print(separator, msgspec.json.encode(_shown(letter)).decode(), sep="", end="")
                separator = ","
            print("[]" if separator == "[" else "]")
        else:
            kept = [letter async for letter in found()]
        return sorted(kept, key=lambda letter: letter.ts_ms)[-limit:]

    kept = run(work())
    if as_json and limit:
        print_json([_shown(letter) for letter in kept])
    elif not as_json:
        rows = [(x.id, _time(x.ts_ms), x.origin, x.stage, x.key, x.size, x.reason) for x in kept]
        print_table(("id", "when", "origin", "stage", "key", "bytes", "reason"), rows, empty="no dead letters")


@app.command()
def show(identifier: str) -> None:
    """One dead letter: why, whence, what it says as far as it can be read, and its bytes in hex."""
    letter = run(find(stack_settings(), identifier))
    for name in ("id", "origin", "stage", "key", "reason"):
        print(f"{name}: {getattr(letter, name)}")
    print(f"when: {_time(letter.ts_ms)}")
    for line in described(letter):
        print(line)
    value = letter.value or b""
    for start in range(0, len(value), 16):
        row = value[start : start + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        print(f"{start:08x}  {row.hex(' '):<47}  {text}")


@app.command("replay")
def replay_letter(
    identifier: str,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also where readers would lose a stream by it.")] = False,
) -> None:
    """Publish the symbol's prints again as a new stream, with the letter's in their place.

    For a letter whose cause has been mended: a release that reads the record, an instrument that is described now.
    Readers that went on without it begin the symbol anew with the new stream; bars, features and signals follow.
    """

    async def work() -> tuple[Plan, int | None]:
        async with connected() as stack:
            letter = await find(stack.settings, identifier)
            plan = await plan_replay(stack.settings, stack.pool, stack.redis, letter)
            if plan.obstacles and not (force or dry_run):
                raise TapelabError(
                    f"stream {plan.stream} of {plan.symbol} is not replayed",
                    expected="the newest stream of the symbol, which its source has left",
                    actual="; ".join(plan.obstacles),
                    remedy="stop the source (or let it end) first, or use --force if that is what you want",
                )
            return plan, None if dry_run else await replay(stack.settings, stack.pool, SystemClock(), plan)

    plan, stream = run(work())
    what = f"{plan.prints:,} prints of {plan.symbol} in {len(plan.batches)} records"
    if stream is None:
        print(f"would publish {what} of stream {plan.stream} again, under a new stream")
        for obstacle in plan.obstacles:
            print(f"needs --force: {obstacle}")
        return
    print(f"published {what} of stream {plan.stream} again, as stream {stream}")


def _shown(letter: Letter) -> dict[str, object]:
    fields = msgspec.structs.asdict(letter)
    del fields["value"]
    return fields


def _time(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1e3, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _since_ms(text: str) -> int:
    if not text:
        return 0
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found:
        return SystemClock().now_ns() // 1_000_000 - int(found[1]) * _UNITS[found[2]] * 1000
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"expected 30m, 2h, 1d or a time, got {text}", param_hint="--since") from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
