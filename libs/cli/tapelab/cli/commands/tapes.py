"""``tapelab bars``, ``dataset`` and ``train``: work on a tape without a stack, or on what a stack has recorded."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import typer

from tapelab.cli.commands.connect import stack_settings
from tapelab.cli.commands.output import print_json, print_table
from tapelab.cli.stack.layout import without_foreign
from tapelab.common.errors import ConfigError, SourceError, TapelabError
from tapelab.common.instruments import Instruments, load_instruments
from tapelab.common.pipeline import bar_lineage
from tapelab.common.schemas.bars import Bar
from tapelab.common.settings import PREFIX, CommonSettings, load
from tapelab.common.sources.detect import open_tape
from tapelab.common.sources.protocol import Tape
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.plain import PlainBars
from tapelab.quant.bars.records import joined
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.ticks import Ticks

#: An experiment that needs no stack.
WITHOUT_STACK: Final = "config/experiments/simulator.yaml"

ConfigDir = Annotated[
    Path, typer.Option(envvar="TAPELAB_CONFIG_DIR", help="Folder of instruments.yaml and pipeline.yaml.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(bars)
    app.command()(dataset)
    app.command()(train)


def bars(
    tape: Annotated[Path, typer.Argument(help="A file or a folder of files.")],
    spec: Annotated[str, typer.Option(help="tick:200, volume:5000, dollar:1e6 or time:1s.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    format: Annotated[str, typer.Option(help="The tape's format, where it is not recognised.")] = "",
    plain: Annotated[
        bool,
        typer.Option(
            help="Prices, sums and counts alone, chunk by chunk: faster, and the tape need not fit in memory."
        ),
    ] = False,
    config_dir: ConfigDir = Path("config"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Compute bars offline: Parquet with one column per field of Bar, the same bits as the live way."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_config_dir(config_dir)
    instruments = load_instruments(config_dir)
    _check_out(out)
    try:
        parsed = BarSpec.parse(spec)
    except (ValueError, OverflowError) as error:
        expected, _, _ = str(error).removeprefix("bar specification: expected ").rpartition(", got ")
        raise ConfigError(
            "--spec is no bar specification",
            expected=expected or "a smaller threshold",
            actual=repr(spec),
            remedy="correct it",
        ) from error
    source = open_tape(tape, format or None, rejects_path=out.with_suffix(".rejects.csv"))
    computed = (_plain_bars if plain else _full_bars)(source, parsed, instruments)
    tables = []
    for (symbol, exchange), rows in computed.items():
        instrument = instruments.of(symbol)
        session = instruments.sessions[instrument.session]
        identity = {
            "symbol": symbol,
            "exchange": exchange,
            "spec": str(parsed),
            "stream": 0,
            "lineage": bar_lineage(str(parsed), instrument, session, source.lineage),
            "tick_lineage": source.lineage,
        }
        columns = {name: pa.array([value] * len(rows)) for name, value in identity.items()}
        columns |= {name: pa.array(rows[name]) for name in rows.dtype.names or ()}
        tables.append(pa.table({name: columns[name] for name in Bar.__struct_fields__ if name in columns}))
    if not tables:
        raise SourceError("the tape is empty", expected="prints", actual="none", remedy="check the file and its format")
    table = pa.concat_tables(tables)
    pq.write_table(table, out)
    summary = source.summary()
    found = {
        "prints": summary.rows,
        "rejects": summary.rejects,
        "rejects_path": str(summary.rejects_path) if summary.rejects_path else None,
        "bars": table.num_rows,
        "symbols": sorted(symbol for symbol, _ in computed),
        "out": str(out),
    }
    if as_json:
        print_json(found)
    else:
        listed = f" (listed in {summary.rejects_path})" if summary.rejects_path else ""
        print(f"{summary.rows:,} prints, {summary.rejects:,} rejected rows{listed} -> {table.num_rows:,} bars in {out}")


def _full_bars(source: Tape, spec: BarSpec, instruments: Instruments) -> dict[tuple[str, str], npt.NDArray[np.void]]:
    """All fields of every symbol's bars, by symbol and exchange; the whole tape is held."""
    chunks: dict[tuple[str, str], list[Ticks]] = {}
    for chunk in source.chunks():
        chunks.setdefault((chunk.symbol, chunk.exchange), []).append(chunk.ticks)
    return {
        key: compute_bars(
            Ticks.concatenate(parts), spec, instruments.calendar(key[0]), instruments.of(key[0]).bar_trade_types
        )
        for key, parts in chunks.items()
    }


def _plain_bars(source: Tape, spec: BarSpec, instruments: Instruments) -> dict[tuple[str, str], npt.NDArray[np.void]]:
    """The plain fields of every symbol's bars, by symbol and exchange; only bars are held."""
    builders: dict[tuple[str, str], PlainBars] = {}
    found: dict[tuple[str, str], list[npt.NDArray[np.void]]] = {}
    taken: dict[tuple[str, str], int] = {}
    for chunk in source.chunks():
        key = (chunk.symbol, chunk.exchange)
        if key not in builders:
            of = instruments.of(chunk.symbol)
            builders[key] = PlainBars(spec, instruments.calendar(chunk.symbol), of.bar_trade_types)
            found[key], taken[key] = [], 0
        found[key].append(builders[key].update(chunk.ticks, taken[key]))
        taken[key] += chunk.ticks.n
    return {key: joined([*pieces, builders[key].end_tape()]) for key, pieces in found.items()}


def check_config_dir(config_dir: Path) -> None:
    """Raise ConfigError where the configuration is not."""
    wanted = config_dir.absolute() / "instruments.yaml"
    if not wanted.is_file():
        raise ConfigError(
            "the instruments' configuration is not there",
            expected=f"the file {wanted}",
            actual="no such file",
            remedy="run in the repository's root, or name its config folder with --config-dir",
        )


def _check_out(out: Path) -> None:
    """Raise ConfigError where the file cannot be written, before a long computation rather than after it."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ConfigError(
            f"cannot write {out}",
            expected="a file's name in a folder that exists",
            actual="a folder" if out.is_dir() else f"no folder {out.absolute().parent}",
            remedy="correct --out",
        )


def _experiment_settings(config: Path, config_dir: Path) -> CommonSettings:
    """Settings for a local experiment: the running stack's where its prints come from one.

    Raises:
        ConfigError: the experiment does not fit, or it reads a stack and none is there.
    """
    from tapelab.common.experiments.reading import load_config

    check_config_dir(config_dir)
    kind = load_config(config).source.kind
    settings = CommonSettings()
    if kind == "ticks_raw" and f"{PREFIX}POSTGRES_DSN" in os.environ:
        settings = load(CommonSettings, without_foreign(dict(os.environ)))  # a database is all that is needed
    elif kind != "file":
        try:
            settings = stack_settings()
        except ConfigError:
            raise
        except TapelabError as error:
            raise ConfigError(
                f"{config} reads the prints of a stack (source {kind})",
                expected=error.expected,
                actual=error.actual,
                remedy=f"start one with 'make up', or take an experiment that needs none, such as {WITHOUT_STACK}",
            ) from error
    return msgspec.structs.replace(settings, config_dir=str(config_dir))


def dataset(
    config: Annotated[Path, typer.Argument(help="An experiment, as in config/experiments/.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("out"),
    config_dir: ConfigDir = Path("config"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write an experiment's features, labels and splits as Parquet, and LightGBM's binary data set."""
    from tapelab.trainer.cli import dataset_local

    settings = _experiment_settings(config, config_dir)
    described = dataset_local(config, out, settings=settings, on_progress=_progress)
    if as_json:
        print_json(described)
    else:
        print(f"{described['samples']:,} samples of {', '.join(described['symbols'])} in {out}")


def _progress(stage: str, fraction: float, data: dict[str, Any]) -> None:
    print(f"{fraction:4.0%} {stage}", file=sys.stderr)


def train(
    config: Annotated[Path, typer.Argument(help="An experiment, as in config/experiments/.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, its manifest and the report.")] = Path("out"),
    config_dir: ConfigDir = Path("config"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run an experiment locally: the same code as the trainer service."""
    from tapelab.trainer.cli import train_local

    settings = _experiment_settings(config, config_dir)
    report = train_local(config, out, settings=settings, on_progress=_progress)
    if as_json:
        print_json(report)
        return
    for rule in report["gate"]["rules"]:
        print(f"{'pass' if rule['passed'] else 'FAIL'}  {rule['id']}: {rule['reason']}")
    print(f"{report['model_id']}: gate {'passed' if report['gate']['passed'] else 'refused'}; written to {out}")
    pooled = report["metrics"]["pooled"]
    names = [name for name, value in pooled["model"].items() if isinstance(value, int | float | None)]
    rows = [(name, *(_shown(pooled[who].get(name)) for who in ("model", "linear"))) for name in names]
    print_table(("all test periods together", "model", "linear baseline"), rows, empty="no figures")
    print(f"everything else: {out / 'result.json'}")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
