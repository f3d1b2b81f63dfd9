"""One experiment from prints to a judged, registered model; the service and ``tapelab train`` run the same."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.common.clock import Clock
from tapelab.common.errors import ModelMismatch
from tapelab.common.experiments.config import SECOND_NS, ExperimentConfig
from tapelab.common.experiments.parts import Span
from tapelab.common.instruments import Instruments
from tapelab.common.pipeline import Pipeline
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.serving.load import load_model
from tapelab.common.serving.manifest import Manifest, encode_manifest
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.jobs import Finish
from tapelab.common.storage.ledger import History, Ledger
from tapelab.common.storage.pointers import Pointer
from tapelab.common.storage.registry import GateRule, Registry
from tapelab.quant.validation.combinatorial import CombinatorialSplit
from tapelab.trainer import gate
from tapelab.trainer.dataset import Samples, pool
from tapelab.trainer.etl import SymbolData, compute, data_digest
from tapelab.trainer.evaluation import Evaluation, discount, evaluate, plain
from tapelab.trainer.export import Exported, export
from tapelab.trainer.manifest import Proven, build_manifest
from tapelab.trainer.parity import Parity, live_parity, streaming_parity
from tapelab.trainer.paths import describe_paths, run_split, split_paths
from tapelab.trainer.progress import Report, Stopped
from tapelab.trainer.sources import SymbolTicks, TickSource
from tapelab.trainer.train import FinalModel, FoldOutcome, fit_final, run_fold, split
from tapelab.trainer.trials import make_trial

#: Rows on which the runtimes are measured and compared.
_MEASURED_ROWS: Final = 2_000
#: The one step that is told after the result is written.
PROMOTION: Final = "promotion"

LiveVectors = Callable[[Sequence[SymbolData]], Awaitable[list[FeatureVector]]]
T = TypeVar("T")


@asynccontextmanager
async def _unheld() -> AsyncIterator[Finish]:
    """Outside a queue there is nobody to hold an experiment against, and nowhere to write its result."""

    async def finish(result: dict[str, Any]) -> None:
        return None

    yield finish


@dataclass(frozen=True, kw_only=True)
class Deps:
    """What an experiment runs with.

    Args:
        frozen: spans of an earlier attempt, which this one takes up again.
        registry: where the model goes; None keeps it in the artifact store alone.
        ledger: counts the trials on the data; None counts none, and the result says so.
        live_vectors: reads vectors that the stack computed live; None outside a stack.
        finishing: holds the experiment while its model is registered and its result written, so that a stop
            comes before both or after both; it raises Stopped where the experiment is not ours any more.
        should_stop: asked between steps and between boosting rounds, from any thread.
        binary: where LightGBM's binary data set stays; None leaves it in a temporary folder.
    """

    clock: Clock
    instruments: Instruments
    pipeline: Pipeline
    source: TickSource
    store: ArtifactStore
    code_version: str
    num_threads: int = 1
    experiment_id: str | None = None
    frozen: tuple[Span, ...] = ()
    registry: Registry | None = None
    ledger: Ledger | None = None
    live_vectors: LiveVectors | None = None
    finishing: Callable[[], AbstractAsyncContextManager[Finish]] = _unheld
    should_stop: Callable[[], bool] = lambda: False
    binary: Path | None = None


async def run_experiment(config: ExperimentConfig, deps: Deps, report: Report) -> dict[str, Any]:
    """Run one experiment.

    Heavy steps run in a thread, one after the other, so that the caller's loop stays free for heartbeats.

    Args:
        report: told at every step; the step ``frozen`` carries the spans.

    Returns:
        JSON types: model_id, digest, gate (passed, rules), pointer, metrics, spans, data_digest, backend,
        timings_s.

    Raises:
        Stopped: ``deps.should_stop`` turned true, or the experiment is not ours any more.
        TapelabError: with what was expected, what came and what to do.
    """
    return await _Run(config, deps, report).run()


class _Run:
    def __init__(self, config: ExperimentConfig, deps: Deps, report: Report) -> None:
        self._config = config
        self._deps = deps
        self._tell = report
        self._timings: dict[str, float] = {}

    async def run(self) -> dict[str, Any]:
        config, deps = self._config, self._deps
        started_ns = deps.clock.monotonic_ns()
        spans = list(config.spans or deps.frozen) or await deps.source.freeze(config, self._report)
        await self._report("frozen", 0.02, {"spans": [plain(msgspec.to_builtins(span)) for span in spans]})
        loaded = await deps.source.load(config, spans, self._report)
        self._lap("load", started_ns)

        symbols, samples, digest = await self._etl(loaded)
        asked = config.validation.combinatorial
        splits = [] if asked is None else split_paths(samples, config, asked)
        outcomes = await self._folds(samples, symbols)
        evaluation = await self._thread("evaluate", evaluate, outcomes, samples, config)
        history = await self._count(evaluation, spans, digest)
        evaluation = await self._thread("evaluate", discount, evaluation, config, history)
        await self._report("evaluated", 0.62, {"metrics": evaluation.metrics["pooled"]})
        if splits:
            section = await self._paths(splits, samples, symbols)
            evaluation = evaluation._replace(metrics=evaluation.metrics | {"combinatorial": section})
        final = await self._final(samples, symbols)
        measured = np.sort(np.argsort(samples.ts_end_ns, kind="stable")[-_MEASURED_ROWS:])
        await self._report("exporting", 0.75, {"rounds": final.model.rounds})
        exported = await self._thread(
            "export",
            lambda: export(
                final.model, final.samples.x[measured], tolerance=config.gate.max_abs_diff, clock=deps.clock
            ),
        )

        await self._report("judging", 0.82, {"backend": exported.backend})
        rules = await self._judge(loaded, symbols, evaluation, exported)
        good = gate.passed(rules)
        await self._report(
            "gate", 0.95, {"passed": good, "rules": [plain(msgspec.to_builtins(rule)) for rule in rules]}
        )
        proven = Proven(spans, digest, evaluation, final, exported, good)
        manifest = await self._thread(
            "manifest", build_manifest, proven, config, deps.code_version, deps.experiment_id, deps.clock.now_ns()
        )
        rows = samples.x[measured], [symbols[index].span.symbol for index in samples.symbol[measured]]
        trained = final.samples.directed(measured, final.model.scores(final.samples.x[measured]))
        stored = await self._thread("store", self._store, manifest, exported, rows, trained)
        async with deps.finishing() as finish:
            pointer = await self._register(manifest, rules, good)
            self._lap("total", started_ns)
            result = {
                "model_id": manifest.model_id,
                "digest": stored,
                "gate": {"passed": good, "rules": [plain(msgspec.to_builtins(rule)) for rule in rules]},
                "pointer": None if pointer is None else plain(msgspec.to_builtins(pointer)),
                "metrics": evaluation.metrics,
                "spans": [plain(msgspec.to_builtins(span)) for span in spans],
                "data_digest": digest,
                "backend": exported.backend,
                "threshold": manifest.decision.threshold,
                "timings_s": dict(self._timings),
            }
            await finish(result)
        if pointer is not None:
            await self._tell(PROMOTION, 0.99, plain(msgspec.to_builtins(pointer)))
        return result

    async def _etl(self, loaded: list[SymbolTicks]) -> tuple[list[SymbolData], Samples, str]:
        config, instruments = self._config, self._deps.instruments
        prints = {item.span.symbol: item.ticks.n for item in loaded}
        await self._report("computing bars and features", 0.08, {"prints": prints})
        digest = await self._thread("digest", data_digest, loaded)
        symbols = []
        for number, item in enumerate(loaded, start=1):
            symbols.append(await self._thread("etl", compute, item, config, instruments))
            await self._report(
                "computing bars and features",
                0.08 + 0.07 * number / len(loaded),
                {"symbol": item.span.symbol, "bars": len(symbols[-1].bars)},
            )
        samples = await self._thread("etl", pool, symbols, config)
        await self._report("samples", 0.15, {"samples": samples.n, "features": samples.x.shape[1]})
        return symbols, samples, digest

    async def _folds(self, samples: Samples, symbols: list[SymbolData]) -> list[FoldOutcome]:
        config, deps, outcomes = self._config, self._deps, []
        folds = split(samples, config)
        for number, fold in enumerate(folds, start=1):
            await self._report(
                "walk-forward", 0.15 + 0.45 * (number - 1) / len(folds), {"fold": number, "of": len(folds)}
            )
            outcomes.append(
                await self._thread(
                    "folds", run_fold, samples, symbols, fold, config, deps.num_threads, deps.should_stop
                )
            )
        return outcomes

    async def _paths(
        self, splits: list[CombinatorialSplit], samples: Samples, symbols: list[SymbolData]
    ) -> dict[str, Any]:
        config, deps, outcomes = self._config, self._deps, []
        for number, chosen in enumerate(splits, start=1):
            await self._report(
                "combinatorial", 0.62 + 0.03 * (number - 1) / len(splits), {"split": number, "of": len(splits)}
            )
            outcomes.append(
                await self._thread(
                    "paths", run_split, samples, symbols, chosen, config, deps.num_threads, deps.should_stop
                )
            )
        return await self._thread("paths", describe_paths, outcomes, samples, config)

    async def _count(self, evaluation: Evaluation, spans: Sequence[Span], digest: str) -> History | None:
        """Record the trial as soon as its test results exist: whatever becomes of it, they were looked at."""
        config, deps = self._config, self._deps
        if deps.ledger is None:
            return None
        return await deps.ledger.record(
            make_trial(
                config,
                spans,
                digest,
                (evaluation.block_numbers, evaluation.model_blocks),
                round(config.gate.block_s * SECOND_NS),
                evaluation.test_ns,
                experiment_id=deps.experiment_id,
                now_ns=deps.clock.now_ns(),
            )
        )

    async def _final(self, samples: Samples, symbols: list[SymbolData]) -> FinalModel:
        config, deps = self._config, self._deps
        await self._report("final fit", 0.65, {"samples": samples.n})
        with tempfile.TemporaryDirectory(prefix="tapelab-") as folder:
            binary = deps.binary or Path(folder) / "dataset.bin"
            return await self._thread(
                "final", fit_final, samples, symbols, config, binary, deps.num_threads, deps.should_stop
            )

    async def _judge(
        self, loaded: list[SymbolTicks], symbols: list[SymbolData], evaluation: Evaluation, exported: Exported
    ) -> list[GateRule]:
        config, deps = self._config, self._deps

        def stream() -> Parity:
            total = Parity(0, 0)
            for seed, (item, data) in enumerate(zip(loaded, symbols, strict=True), start=config.model.seed):
                total += streaming_parity(item, data, config, deps.instruments, seed=seed)
            return total

        streaming = await self._thread("parity", stream)
        live = None
        if deps.live_vectors is not None:
            vectors = await deps.live_vectors(symbols)
            live = await self._thread("parity", live_parity, vectors, symbols, config)
        return await self._thread("gate", gate.judge, evaluation, exported, streaming, live, deps.pipeline, config)

    def _store(
        self,
        manifest: Manifest,
        exported: Exported,
        rows: tuple[npt.NDArray[np.float32], list[str]],
        trained: npt.NDArray[np.float64],
    ) -> str:
        """Write files and manifest, then load them back as inference will; the manifest's digest.

        Args:
            rows: as the feature set gives them, and whose they are.
            trained: the trained model's scores of them.
        """
        store = self._deps.store
        for raw in exported.files.values():
            store.put(raw)
        digest = store.put(encode_manifest(manifest))
        served = load_model(manifest, store).predict(*rows)
        difference = float(np.max(np.abs(served - trained)))
        if digest != manifest.digest or not difference <= exported.tolerance:
            raise ModelMismatch(
                f"model {manifest.model_id} does not come back from the artifact store as it was trained",
                expected=f"digest {manifest.digest}, scores within {exported.tolerance:g}",
                actual=f"digest {digest}, scores {difference:.3g} apart",
                remedy="check the artifact folder and run the experiment again",
            )
        return digest

    async def _register(self, manifest: Manifest, rules: list[GateRule], good: bool) -> Pointer | None:
        deps = self._deps
        if deps.registry is None:
            return None
        await deps.registry.add_model(manifest, deps.experiment_id, gate=rules)
        if good:
            return await deps.registry.set_pointer(
                "champion", manifest.model_id, "live", reason="passed the gate", gate=rules
            )
        failed = "; ".join(f"{rule.id}: {rule.reason}" for rule in rules if not rule.passed)
        return await deps.registry.set_pointer(
            "challenger", manifest.model_id, "shadow", reason=f"refused by the gate: {failed}", gate=rules
        )

    async def _report(self, stage: str, fraction: float, data: dict[str, Any]) -> None:
        if self._deps.should_stop():
            raise Stopped
        await self._tell(stage, round(fraction, 4), data)

    async def _thread(self, timing: str, function: Callable[..., T], *arguments: Any) -> T:
        started_ns = self._deps.clock.monotonic_ns()
        result = await asyncio.to_thread(function, *arguments)
        self._lap(timing, started_ns)
        return result

    def _lap(self, timing: str, started_ns: int) -> None:
        took = (self._deps.clock.monotonic_ns() - started_ns) / 1e9
        self._timings[timing] = round(self._timings.get(timing, 0.0) + took, 3)
