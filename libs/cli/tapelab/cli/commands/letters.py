"""``tapelab dlq``: records that could not be processed."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from tapelab.cli.commands.connect import run, stack_settings
from tapelab.cli.commands.output import print_json, print_table
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.headers import ORIGIN, REASON, STAGE
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.topics import ALL_TOPICS, DLQ_SUFFIX

app = typer.Typer(no_args_is_help=True, help="List, show and replay dead letters.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter. ``id`` is where it lies: ``topic[partition]@offset``."""

    id: str
    topic: str
    origin: str
    stage: str
    reason: str
    key: str
    size: int
    value: bytes


async def _letters() -> list[Letter]:
    settings = stack_settings()
    names = [spec.name for spec in ALL_TOPICS if spec.name.endswith(DLQ_SUFFIX)]
    async with TopicReader(settings, names, start="earliest") as reader:
        records = await reader.read_to_end()
    letters = []
    for record in records:
        headers = {k: v.decode(errors="replace") for k, v in record.headers}
        letters.append(
            Letter(
                id=f"{record.topic}[{record.partition}]@{record.offset}",
                topic=record.topic.removesuffix(DLQ_SUFFIX),
                origin=headers.get(ORIGIN, ""),
                stage=headers.get(STAGE, ""),
                reason=headers.get(REASON, ""),
                key=(record.key or b"").decode(errors="replace"),
                size=len(record.value or b""),
                value=record.value or b"",
            )
        )
    return letters


def _find(letters: list[Letter], identifier: str) -> Letter:
    for letter in letters:
        if letter.id == identifier:
            return letter
    raise TapelabError(
        "no such dead letter",
        expected="an id that 'tapelab dlq list' shows",
        actual=identifier,
        remedy="copy it from the list",
    )


@app.command("list")
def list_letters(as_json: Json = False) -> None:
    """Every dead letter with its reason."""
    letters = run(_letters())
    if as_json:
        print_json([msgspec.structs.asdict(msgspec.structs.replace(letter, value=b"")) for letter in letters])
        return
    rows = [(x.id, x.origin, x.stage, x.key, x.size, x.reason) for x in letters]
    print_table(("id", "origin", "stage", "key", "bytes", "reason"), rows, empty="no dead letters")


@app.command()
def show(identifier: str) -> None:
    """One dead letter with its bytes in hex."""
    letter = _find(run(_letters()), identifier)
    for name in ("id", "origin", "stage", "key", "reason"):
        print(f"{name}: {getattr(letter, name)}")
    for start in range(0, len(letter.value), 16):
        row = letter.value[start : start + 16]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        print(f"{start:08x}  {row.hex(' '):<47}  {text}")


@app.command()
def replay(identifier: str) -> None:
    """Send a dead letter's bytes to its topic again, for a consumer that has learnt to read them.

    Records that came after it have been processed without it, so its numbers are taken as seen unless its
    producer starts a new stream.
    """

    async def work() -> str:
        letter = _find(await _letters(), identifier)
        async with Publisher(stack_settings()) as publisher:
            await publisher.send(letter.topic, letter.key, letter.value)
            await publisher.flush()
        return letter.topic

    print(f"sent to {run(work())} again")
