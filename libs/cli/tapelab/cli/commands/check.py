"""``tapelab check``: proofs that can be run at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tapelab.cli.commands.output import print_json
from tapelab.cli.commands.tapes import ConfigDir, _experiment_settings, check_config_dir
from tapelab.common.settings import CommonSettings

app = typer.Typer(no_args_is_help=True, help="Prove that nothing looks ahead.")


@app.callback()
def _group() -> None:
    """Prove that nothing looks ahead."""


@app.command()
def leakage(
    config: Annotated[Path | None, typer.Option(help="An experiment whose tape, bars and label are tested.")] = None,
    features: Annotated[Path | None, typer.Option(help="A module of your own (docs/leakage.md).")] = None,
    config_dir: ConfigDir = Path("config"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Test features, labels, fills and splits for look-ahead; exit code 1 and a line per leak where there is one."""
    from tapelab.cli.check.leakage import check_leakage

    check_config_dir(config_dir)
    settings = msgspec.structs.replace(CommonSettings(), config_dir=str(config_dir))
    if config is not None:
        settings = _experiment_settings(config, config_dir)
    report = check_leakage(config, features, settings)
    if as_json:
        print_json(report.plain())
    else:
        for leak in report.leaks:
            print(f"LEAK {leak}")
        if not report.leaks:
            print(f"clean: {len(report.subjects)} subjects tested, none knows the future")
    if report.leaks:
        raise typer.Exit(1)
