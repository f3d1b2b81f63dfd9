"""``tapelab bars``, ``dataset`` and ``train``: work on a tape without a stack."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from tapelab.cli.commands.output import print_json
from tapelab.common.errors import ConfigError, SourceError
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import bar_lineage
from tapelab.common.schemas.bars import Bar
from tapelab.common.sources.detect import open_tape
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.ticks import Ticks


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
    config_dir: Annotated[Path, typer.Option(help="Folder of instruments.yaml.")] = Path("config"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Compute bars offline: Parquet with one column per field of Bar, the same bits as the live way."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    instruments = load_instruments(config_dir)
    try:
        parsed = BarSpec.parse(spec)
    except ValueError as error:
        raise ConfigError(
            f"--spec {spec!r} is no bar specification",
            expected="tick:200, volume:5000, dollar:1e6 or time:1s",
            actual=str(error),
            remedy="correct it",
        ) from error
    source = open_tape(tape, format or None, rejects_path=out.with_suffix(".rejects.csv"))
    chunks: dict[tuple[str, str], list[Ticks]] = {}
    for chunk in source.chunks():
        chunks.setdefault((chunk.symbol, chunk.exchange), []).append(chunk.ticks)
    tables = []
    for (symbol, exchange), parts in chunks.items():
        instrument = instruments.of(symbol)
        session = instruments.sessions[instrument.session]
        rows = compute_bars(Ticks.concatenate(parts), parsed, instruments.calendar(symbol), instrument.bar_trade_types)
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
        tables.append(pa.table({name: columns[name] for name in Bar.__struct_fields__}))
    if not tables:
        raise SourceError("the tape is empty", expected="prints", actual="none", remedy="check the file and its format")
    table = pa.concat_tables(tables)
    pq.write_table(table, out)
    summary = source.summary()
    found = {
        "prints": summary.rows,
        "rejects": summary.rejects,
        "bars": table.num_rows,
        "symbols": sorted(symbol for symbol, _ in chunks),
        "out": str(out),
    }
    if as_json:
        print_json(found)
    else:
        print(f"{summary.rows:,} prints, {summary.rejects:,} rejected rows -> {table.num_rows:,} bars in {out}")


def dataset(
    config: Annotated[Path, typer.Argument(help="An experiment, as in config/experiments/.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("out"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write an experiment's features, labels and splits as Parquet, and LightGBM's binary data set."""
    from tapelab.trainer.cli import dataset_local

    described = dataset_local(config, out, on_progress=_progress)
    if as_json:
        print_json(described)
    else:
        print(f"{described['samples']:,} samples of {', '.join(described['symbols'])} in {out}")


def _progress(stage: str, fraction: float, data: dict[str, Any]) -> None:
    print(f"{fraction:4.0%} {stage}", file=sys.stderr)


def train(
    config: Annotated[Path, typer.Argument(help="An experiment, as in config/experiments/.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, its manifest and the report.")] = Path("out"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run an experiment locally: the same code as the trainer service."""
    from tapelab.trainer.cli import train_local

    report = train_local(config, out, on_progress=_progress)
    if as_json:
        print_json(report)
        return
    for rule in report["gate"]["rules"]:
        print(f"{'pass' if rule['passed'] else 'FAIL'}  {rule['id']}: {rule['reason']}")
    print(f"{report['model_id']}: gate {'passed' if report['gate']['passed'] else 'refused'}; written to {out}")
    print(msgspec.json.encode(report.get("metrics", {})).decode())
