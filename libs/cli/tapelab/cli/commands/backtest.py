"""``tapelab backtest``: what a model would have earned on a tape."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import typer

from tapelab.cli.backtest_report import seen_warning, summary_of, told_trading, write_report
from tapelab.cli.commands.connect import connected, run
from tapelab.cli.commands.output import print_json, print_table
from tapelab.cli.commands.tapes import ConfigDir, check_config_dir
from tapelab.cli.stack.layout import default_layout
from tapelab.common.clock import SystemClock
from tapelab.common.errors import ConfigError
from tapelab.common.instruments import load_instruments
from tapelab.common.serving.manifest import Manifest, decode_manifest
from tapelab.common.settings import PREFIX
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.ledger import FileLedger

if TYPE_CHECKING:
    from tapelab.common.experiments.config import ExperimentConfig
    from tapelab.common.experiments.parts import BacktestConfig
    from tapelab.quant.backtest.latency import Latency


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(backtest)


def backtest(
    model: Annotated[str, typer.Argument(help="A registered model's id, or a folder that 'tapelab train' wrote.")],
    tape: Annotated[str, typer.Option(help="A file or a folder of files; options of the simulator with its format.")],
    out: Annotated[Path, typer.Option(help="Folder for report, trades, equity and picture.")] = Path("out/backtest"),
    format: Annotated[str, typer.Option(help="The tape's format, where it is not recognised.")] = "",
    symbol: Annotated[list[str] | None, typer.Option(help="Only this symbol; may be repeated.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Instead of the model's, a fraction of the price.")] = None,
    latency_ms: Annotated[float | None, typer.Option(min=0.0, max=60_000.0, help="Instead of the model's.")] = None,
    latencies: Annotated[
        Path | None, typer.Option(help="Measured latencies to draw from: a text file, one in ms a line.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draws; 0 if left out.")] = None,
    lots: Annotated[float | None, typer.Option(help="Lots of a full position, instead of the model's.")] = None,
    max_long: Annotated[
        float | None, typer.Option(help="Largest long position in lots, instead of the model's.")
    ] = None,
    max_short: Annotated[float | None, typer.Option(help="Largest short position, likewise.")] = None,
    spread: Annotated[
        str | None, typer.Option(help="What market orders cross: fixed, roll, corwin_schultz or effective.")
    ] = None,
    orders: Annotated[str | None, typer.Option(help="market or limit (passive), instead of the model's.")] = None,
    fills: Annotated[str | None, typer.Option(help="bars or ticks: looked up bar by bar, or print by print.")] = None,
    queue: Annotated[
        str | None, typer.Option(help="Lots ahead of a passive order: 20, 10x (mean prints), or inf.")
    ] = None,
    patience_s: Annotated[float | None, typer.Option(help="How long a passive order waits, in seconds.")] = None,
    then: Annotated[str | None, typer.Option(help="After that: join (the best price anew) or market.")] = None,
    config_dir: ConfigDir = Path("config"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """KPIs, equity and trades of a model on a tape, by the decision rule and the steps of the live way."""
    from tapelab.common.experiments.parts import SourceConfig
    from tapelab.trainer.backtest import Settings, backtest_model, model_config, read_tape
    from tapelab.trainer.cli import make_folder
    from tapelab.trainer.evaluation import plain
    from tapelab.trainer.trials import deflate
    from tapelab.trainer.tried import backtest_trial

    check_config_dir(config_dir)
    latency = _latency(latency_ms, latencies, seed)
    if threshold is not None and not math.isfinite(threshold):
        raise ConfigError("--threshold", expected="a finite number", actual=str(threshold), remedy="correct it")
    make_folder(out)
    instruments = load_instruments(config_dir)
    manifest, store = _find(model)
    config = model_config(manifest)
    asked = {"orders": orders, "fills": fills, "queue": queue, "patience_s": patience_s, "then": then}
    asked |= {"lots": lots, "max_long": max_long, "max_short": max_short, "spread": spread}
    traded = _traded(config, {name: value for name, value in asked.items() if value is not None})

    async def report(stage: str, fraction: float, data: dict[str, Any]) -> None:
        print(f"{fraction:4.0%} {stage}", file=sys.stderr)

    source = SourceConfig(kind="file", path=tape, format=format or None)
    loaded = asyncio.run(read_tape(config, instruments, source, symbol or (), report))
    settings = Settings(threshold, latency, traded)
    done = [backtest_model(manifest, store, item, instruments, settings) for item in loaded]
    settled: dict[str, Any] = {
        "model_id": manifest.model_id,
        "digest": manifest.digest,
        "tape": tape,
        "bars": config.bars,
        "threshold": manifest.decision.threshold if threshold is None else threshold,
        "latency_ms": _told(latency, config.latency_ms),
        "trading": told_trading(traded),
        "lots": traded.lots,
        "max_long": traded.max_long,
        "max_short": traded.max_short,
        "spread": traded.spread,
    }
    trial = backtest_trial(manifest, config, settings, loaded, done, now_ns=SystemClock().now_ns())
    history = asyncio.run(FileLedger(out / "trials.jsonl").record(trial))
    deflated = deflate(np.array(trial.returns), trial.block_ns, history)
    settled["trials"] = plain(deflated.described(len(trial.returns)))
    summary = summary_of(done)
    files = write_report(out, settled, done)
    if as_json:
        print_json(settled | {"symbols": summary, "files": files, "out": str(out)})
        return
    for item in summary:
        if item["orders"]:
            share, ratio = (_percent(item["orders"][name]) for name in ("maker_share", "fill_ratio"))
            print(f"{item['symbol']}: {share} of the lots traded passively, {ratio} of the passive lots filled")
    names = ("net_pnl", "gross_pnl", "costs", "fees", "spread", "slippage", "n_trades", "hit_rate", "max_drawdown")
    rows = [(s["symbol"], s["currency"], *(_figure(s["kpis"][name]) for name in names)) for s in summary]
    print_table(("symbol", "money", *names), rows, empty="no symbol")
    print(
        f"tried on this data: {deflated.n_trials}, this one included ({deflated.where}); probability that the Sharpe "
        f"ratio is above zero after that: {_percent(settled['trials']['deflated_sharpe'])}"
    )
    warning = seen_warning(done)
    if warning:
        print(warning)
    print(f"{manifest.model_id}: written to {out}")


def _traded(config: ExperimentConfig, asked: dict[str, Any]) -> BacktestConfig:
    """How orders are traded: as the model was judged, or as asked; other orders begin from the defaults.

    Raises:
        ConfigError: the options do not fit each other.
    """
    from tapelab.common.experiments.reading import parse_config

    own = msgspec.to_builtins(config.backtest)
    if "orders" in asked:
        own = {name: own[name] for name in ("lots", "max_long", "max_short", "spread")}
    return parse_config({"backtest": own | asked}, "the command line").backtest


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}" if isinstance(value, float) else str(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _told(latency: Latency | None, own_ms: float) -> dict[str, float]:
    """The latencies in a report: how many they are drawn from, and their middle."""
    if latency is None:
        return {"samples": 1, "median": own_ms}
    return {"samples": len(latency.samples_ns), "median": float(np.median(latency.samples_ns)) / 1e6}


def _latency(fixed_ms: float | None, path: Path | None, seed: int | None) -> Latency | None:
    from tapelab.quant.backtest.latency import Latency

    if seed is not None and path is None:
        raise ConfigError(
            "--seed draws nothing", expected="--latencies with it", actual="none", remedy="add them or leave it out"
        )

    if fixed_ms is not None and path is not None:
        raise ConfigError(
            "two latencies", expected="--latency-ms or --latencies", actual="both", remedy="leave one of them out"
        )
    if fixed_ms is not None:
        return Latency.fixed(round(fixed_ms * 1e6))
    if path is None:
        return None
    values = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            values.append(float(line))
        except ValueError:
            values.append(math.nan)
        if not 0.0 <= values[-1] <= 60_000.0:
            raise _no_latencies(path, f"{line[:40]!a} in line {number}")
    if not values:
        raise _no_latencies(path, "an empty file")
    return Latency.measured([round(value * 1e6) for value in values], seed or 0)


def _no_latencies(path: Path, actual: str) -> ConfigError:
    return ConfigError(
        f"{path} holds no latencies",
        expected="a number from 0 to 60000 in ms on every line",
        actual=actual,
        remedy="correct the file",
    )


def _find(model: str) -> tuple[Manifest, ArtifactStore]:
    """A model's manifest and where its files lie: a folder of ``tapelab train``, or the registry.

    Raises:
        TapelabError: there is no such model.
    """
    folder = Path(model)
    if folder.is_dir():
        path = folder / "manifest.json"
        if not path.is_file():
            raise ConfigError(
                f"{folder} holds no model", expected=f"the file {path}", actual="none", remedy="run 'tapelab train'"
            )
        return decode_manifest(path.read_bytes()), ArtifactStore(folder / "artifacts")
    if os.sep in model or (default_layout().read() is None and f"{PREFIX}BROKER" not in os.environ):
        raise ConfigError(
            f"no model {model}",
            expected="a folder that 'tapelab train' wrote, or a registered model's id while a stack runs",
            actual="no such folder, and no running stack",
            remedy="correct the path, or start the stack with 'make up'",
        )

    async def registered() -> tuple[Manifest, ArtifactStore]:
        async with connected() as stack:
            row = await stack.registry.model(model)
            return row.manifest, ArtifactStore(stack.settings.artifacts)

    return run(registered())
