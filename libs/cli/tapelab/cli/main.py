"""The ``tapelab`` command. Every listing takes ``--json``; every failure is one clear line and a non-zero exit."""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn

import typer
from asyncpg import InterfaceError, PostgresError
from redis.exceptions import RedisError

from tapelab.cli.commands import backtest, bench, check, experiments, halts, letters, models, signals, stack, tapes
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.kafka import BrokerError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="tapelab reads the tape with machine learning, live.",
)
stack.register(app)
tapes.register(app)
backtest.register(app)
halts.register(app)
app.add_typer(models.app, name="models")
app.add_typer(experiments.app, name="experiments")
app.add_typer(signals.app, name="signals")
app.add_typer(letters.app, name="dlq")
app.add_typer(bench.app, name="bench")
app.add_typer(check.app, name="check")
app.command("explain")(signals.explain)


def main() -> None:
    """Entry point of the ``tapelab`` command."""
    try:
        app()
    except TapelabError as error:
        _fail(str(error))
    except (ConnectionError, TimeoutError, PostgresError, InterfaceError, RedisError, BrokerError) as error:
        _fail(f"the stack does not answer: {error}; see 'tapelab status'")
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _fail(f"cannot read or write {what}; check the path, its permissions and the disk's free space")
    except UnicodeDecodeError as error:
        _fail(f"a file is not UTF-8 text ({error}); check the files that you named")


def _fail(message: str) -> NoReturn:
    """End with one line, however many the message has."""
    print("tapelab:", " ".join(message.split()), file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    warnings.simplefilter("default")
    main()
