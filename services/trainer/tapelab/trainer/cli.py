"""Experiments without a service: what ``tapelab train`` and ``tapelab dataset`` run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from tapelab.common.clock import Clock, SystemClock
from tapelab.common.errors import ConfigError
from tapelab.common.experiments.reading import load_config
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import load_pipeline
from tapelab.common.serving.manifest import MODEL_TXT
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.ledger import FileLedger
from tapelab.trainer.dataset import pool, save_binary
from tapelab.trainer.etl import compute, data_digest
from tapelab.trainer.evaluation import plain
from tapelab.trainer.gbdt import parameters
from tapelab.trainer.opening import open_source
from tapelab.trainer.runner import Deps, run_experiment
from tapelab.trainer.tables import write_samples
from tapelab.trainer.train import split

#: ``on_progress(stage, fraction, data)``.
OnProgress = Callable[[str, float, dict[str, Any]], None]


def train_local(
    config_path: str | Path,
    out_dir: str | Path,
    *,
    settings: CommonSettings | None = None,
    clock: Clock | None = None,
    on_progress: OnProgress | None = None,
    num_threads: int = 1,
) -> dict[str, Any]:
    """Run an experiment here and now, without registry or pointers; the same code as the service.

    Args:
        config_path: the experiment's YAML.
        out_dir: gets ``artifacts/`` (model files and manifest by sha256), ``manifest.json``, ``model.txt``,
            ``dataset.bin`` and ``result.json``; it is made if need be. ``trials.jsonl`` counts the
            configurations that were tried into this folder.
        settings: where configuration, PostgreSQL and broker are, for sources other than a file.
        on_progress: told at every step.

    Returns:
        the result of ``run_experiment``, with ``out`` added.

    Raises:
        TapelabError: with what was expected, what came and what to do.
    """
    settings, clock, out = settings or CommonSettings(), clock or SystemClock(), Path(out_dir)
    config = load_config(Path(config_path))
    instruments, pipeline = load_instruments(settings.config_dir), load_pipeline(settings.config_dir)
    make_folder(out)
    store = ArtifactStore(out / "artifacts")

    async def work() -> dict[str, Any]:
        async with open_source(config, settings, clock, instruments) as source:
            deps = Deps(
                clock=clock,
                instruments=instruments,
                pipeline=pipeline,
                source=source,
                store=store,
                code_version=version("tapelab"),
                num_threads=num_threads,
                binary=out / "dataset.bin",
                ledger=FileLedger(out / "trials.jsonl"),
            )
            return await run_experiment(config, deps, _reporter(on_progress))

    result = _run(work()) | {"out": str(out)}
    manifest = store.get(result["digest"])
    (out / "manifest.json").write_bytes(msgspec.json.format(manifest, indent=2))
    (out / MODEL_TXT).write_bytes(store.get(msgspec.json.decode(manifest)["files"][MODEL_TXT]))
    (out / "result.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    return result


def dataset_local(
    config_path: str | Path,
    out_dir: str | Path,
    *,
    settings: CommonSettings | None = None,
    clock: Clock | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Write an experiment's samples: features, labels and folds as Parquet, and LightGBM's binary data set.

    Returns:
        JSON types: samples, features, symbols, folds, data_digest, files.

    Raises:
        TapelabError: with what was expected, what came and what to do.
    """
    settings, clock, out = settings or CommonSettings(), clock or SystemClock(), Path(out_dir)
    config = load_config(Path(config_path))
    instruments = load_instruments(settings.config_dir)
    report = _reporter(on_progress)
    make_folder(out)

    async def work() -> dict[str, Any]:
        async with open_source(config, settings, clock, instruments) as source:
            spans = list(config.spans) or await source.freeze(config, report)
            loaded = await source.load(config, spans, report)
        await report("computing bars and features", 0.3, {})
        symbols = [compute(item, config, instruments) for item in loaded]
        samples = pool(symbols, config)
        folds = split(samples, config)
        await report("writing", 0.8, {"samples": samples.n})
        names = [span.symbol for span in spans]
        write_samples(samples, symbols, folds, config, out / "samples.parquet")
        options = parameters(config.model, 1, regression=config.regression)
        save_binary(samples, config.features.names, options, out / "dataset.bin")
        described = {
            "samples": samples.n,
            "features": list(config.features.names),
            "symbols": names,
            "spans": [msgspec.to_builtins(span) for span in spans],
            "folds": [
                {"train": len(f.train), "tune": len(f.tune), "test": len(f.test), "test_start_ns": str(f.test_start_ns)}
                for f in folds
            ],
            "data_digest": data_digest(loaded),
            "files": ["samples.parquet", "dataset.bin"],
        }
        return dict(plain(described))

    result = _run(work()) | {"out": str(out)}
    (out / "dataset.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    return result


def make_folder(out: Path) -> None:
    """Make the folder that a command writes to.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot write to {out}",
            expected="a folder, or a path at which one can be made",
            actual="a file of that name" if out.is_file() else str(error.strerror),
            remedy="name another folder with --out",
        ) from error


def _run(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    return asyncio.run(work)


def _reporter(on_progress: OnProgress | None) -> Callable[[str, float, dict[str, Any]], Coroutine[Any, Any, None]]:
    async def report(stage: str, fraction: float, data: dict[str, Any]) -> None:
        if on_progress is not None:
            on_progress(stage, fraction, data)

    return report
