"""``tapelab signals`` and ``tapelab explain``."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from tapelab.cli.commands.connect import run, stack_settings
from tapelab.cli.commands.output import print_json
from tapelab.cli.explain import explain_signal
from tapelab.common import topics
from tapelab.common.clock import SystemClock
from tapelab.common.codec import decode
from tapelab.common.errors import PoisonRecord
from tapelab.common.runtime.outage import Outage
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.schemas.signals import Signal, signal_to_builtins

app = typer.Typer(no_args_is_help=True, help="Follow signals.")


def _log() -> logging.Logger:
    """Says on standard error when the broker goes away and comes back."""
    log = logging.getLogger("tapelab.signals")
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
        log.setLevel(logging.INFO)
        log.propagate = False
    return log


def _line(signal: Signal) -> str:
    side = {1: "LONG ", 0: "FLAT ", -1: "SHORT"}[signal.side]
    return (
        f"{signal.symbol:<8} {side} at {signal.ref_price:<12g} {signal.reason:<11} score {signal.score:.4f} "
        f"expected {signal.expected_return * 1e4:+.2f} bp, cost {signal.expected_cost * 1e4:.2f} bp  "
        f"{signal.mode} {signal.model_id}  {signal.signal_id}"
    )


@app.command()
def tail(
    follow: Annotated[bool, typer.Option(help="Go on with new ones until Ctrl-C.")] = True,
    last: Annotated[int, typer.Option(min=0, help="Begin with so many of the newest.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print signals as they come."""

    async def work() -> None:
        seen: set[str] = set()
        async with TopicReader(stack_settings(), [topics.SIGNALS], start="earliest") as reader:
            records = await reader.read_to_end()
            if follow:
                reader.wait_with(Outage("broker", SystemClock(), _log()))
            records = records[max(0, len(records) - last) :]
            while True:
                for record in records:
                    try:
                        signal: Signal = decode(topics.SIGNALS, record.value)
                    except PoisonRecord as error:
                        where = f"{record.topic}[{record.partition}]@{record.offset}"
                        print(f"skipped {where}: {error}", file=sys.stderr)
                        continue
                    if signal.signal_id in seen:
                        continue
                    seen.add(signal.signal_id)
                    if as_json:
                        print_json(signal_to_builtins(signal))
                    else:
                        print(_line(signal), flush=True)
                if not follow:
                    return
                records = await reader.poll(timeout_s=1.0)

    try:
        run(work())
    except KeyboardInterrupt:
        raise typer.Exit from None


def explain(
    signal_id: Annotated[str, typer.Argument(help="The signal's id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compute a signal again from its prints and say what it rests on."""
    run(explain_signal(stack_settings(), signal_id, as_json=as_json))
