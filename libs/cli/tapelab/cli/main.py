"""The ``tapelab`` command. Every listing takes ``--json``; every failure is one clear line and a non-zero exit."""

from __future__ import annotations

import sys
import warnings

import typer

from tapelab.cli.commands import bench, halts, letters, models, signals, stack, tapes
from tapelab.common.errors import TapelabError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="tapelab reads the tape with machine learning, live.",
)
stack.register(app)
tapes.register(app)
halts.register(app)
app.add_typer(models.app, name="models")
app.add_typer(signals.app, name="signals")
app.add_typer(letters.app, name="dlq")
app.add_typer(bench.app, name="bench")
app.command("explain")(signals.explain)


def main() -> None:
    """Entry point of the ``tapelab`` command."""
    try:
        app()
    except TapelabError as error:
        print(f"tapelab: {error}", file=sys.stderr)
        sys.exit(1)
    except (ConnectionError, TimeoutError) as error:
        print(f"tapelab: the stack does not answer: {error}; see 'tapelab status'", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    warnings.simplefilter("default")
    main()
