"""The trainer's loop: claim an experiment, run it, tell how it goes, settle its status."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final, Literal

import msgspec
from prometheus_client import Counter
from redis.exceptions import RedisError

from tapelab.common import topics
from tapelab.common.codec import encode
from tapelab.common.errors import RegistryError, TapelabError
from tapelab.common.experiments.parts import Span
from tapelab.common.experiments.reading import parse_config
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import load_pipeline
from tapelab.common.runtime.outage import Outage
from tapelab.common.runtime.outage import Stopped as Waiting
from tapelab.common.runtime.publisher import OversizeRecord, Publisher
from tapelab.common.runtime.service import ServiceContext
from tapelab.common.schemas.events import EventKind
from tapelab.common.settings import load
from tapelab.common.storage import redis as redis_storage
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.jobs import Experiment, Finish, Jobs
from tapelab.common.storage.ledger import PostgresLedger
from tapelab.common.storage.postgres import SILENT_S, apply_schema, close_pool, create_pool, is_away
from tapelab.common.storage.registry import Registry
from tapelab.trainer.files import AllowedFiles
from tapelab.trainer.opening import open_source
from tapelab.trainer.parity import live_vectors
from tapelab.trainer.progress import Stopped
from tapelab.trainer.runner import PROMOTION, Deps, run_experiment
from tapelab.trainer.settings import TrainerSettings

#: Which kind of event a step is; every other one is progress.
_KINDS: Final[dict[str, EventKind]] = {"gate": "gate", PROMOTION: "promotion", "evaluated": "metric"}
_FROZEN: Final = "frozen"
_FLUSH_S: Final = 3.0
#: Between an interruption and the next attempt.
_INTERRUPTED_S: Final = 1.0


async def trainer_main(ctx: ServiceContext) -> None:
    """Work on experiments until told to stop; one that runs then goes back to the queue."""
    with contextlib.suppress(Waiting):
        await _work(ctx)


async def _work(ctx: ServiceContext) -> None:
    settings = load(TrainerSettings, ctx.environ, service="trainer")
    database = Outage("postgres", ctx.clock, ctx.log, ctx, silent_s=SILENT_S)
    pool = await database.through(lambda: create_pool(ctx.settings.postgres_dsn), is_away)
    redis = redis_storage.connect(ctx.settings.redis_url)
    try:
        await database.through(lambda: apply_schema(pool), is_away)
        async with Publisher(ctx.settings, Outage("broker", ctx.clock, ctx.log, ctx)) as publisher:
            trainer = Trainer(ctx, settings, pool, redis, publisher)
            ctx.ready(detail="waiting for an experiment")
            while not ctx.stopping.is_set():
                try:
                    worked = await trainer.work_once()
                    database.over()
                except Exception as error:
                    if not is_away(error):
                        raise
                    await database.wait(error)
                    continue
                if not worked and await ctx.stopped_within(settings.poll_s):
                    break
    finally:
        await redis.aclose()
        await close_pool(pool)


class Trainer:
    """Runs the queue's experiments, one at a time."""

    def __init__(
        self, ctx: ServiceContext, settings: TrainerSettings, pool: Any, redis: Any, publisher: Publisher
    ) -> None:
        self._ctx = ctx
        self._settings = settings
        self._pool = pool
        self._publisher = publisher
        self._database = Outage("postgres", ctx.clock, ctx.log, ctx, silent_s=SILENT_S)
        self._broker = Outage("broker", ctx.clock, ctx.log, ctx)
        self._jobs = Jobs(pool, ctx.clock)
        self._registry = Registry(pool, redis, ctx.clock, ctx.settings.namespace)
        self._store = ArtifactStore(ctx.settings.artifacts)
        # A restarted process is another worker: what its forerunner held is claimed again after its silence.
        self._worker = f"trainer-{ctx.settings.instance}-{os.getpid()}"
        self._ended = Counter(
            "tapelab_trainer_experiments", "Experiments that ended, by status", ["status"], registry=ctx.registry
        )

    async def work_once(self) -> bool:
        """Claim an experiment and run it to its end; False where none waits."""
        experiment = await self._jobs.claim(self._worker)
        if experiment is None:
            return False
        self._ctx.ready(detail=f"running {experiment.id}")
        self._log("experiment claimed", experiment, attempt=experiment.attempts)
        status = await self._run(experiment)
        self._ended.labels(status).inc()
        self._log(f"experiment {status}", experiment)
        self._ctx.ready(detail="waiting for an experiment")
        return True

    async def _run(self, experiment: Experiment) -> str:
        lost = asyncio.Event()
        beating = asyncio.create_task(self._beat(experiment.id, lost))
        try:
            await self._event(experiment.id, "status", {"status": "running", "attempt": experiment.attempts})
            result = await self._experiment(experiment, lost)
            done = {"status": "done", "model_id": result["model_id"], "gate_passed": result["gate"]["passed"]}
            await self._event(experiment.id, "status", done)
            self._log("experiment timed", experiment, timings_s=result["timings_s"])
            return "done"
        except Stopped:
            if lost.is_set():
                return "stopped"
            return await self._settle(experiment.id, "queued")
        except Waiting:
            return "stopped"  # its silence gives it back
        except Exception as error:
            if is_away(error) or isinstance(error, RedisError):
                return await self._interrupted(experiment, error)
            if isinstance(error, TapelabError):
                return await self._fail(experiment, str(error))
            self._ctx.log.exception("experiment failed", extra={"fields": {"experiment": experiment.id}})
            return await self._fail(experiment, f"{type(error).__name__}: {error}; the trainer's log has the traceback")
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            with contextlib.suppress(TimeoutError):  # what waits for the broker is sent when it is back
                async with asyncio.timeout(_FLUSH_S):
                    await self._publisher.flush()

    async def _experiment(self, experiment: Experiment, lost: asyncio.Event) -> dict[str, Any]:
        ctx, common = self._ctx, self._ctx.settings
        config = parse_config(experiment.config, f"experiment {experiment.id}")
        instruments = load_instruments(common.config_dir)
        pipeline = load_pipeline(common.config_dir)

        async def report(stage: str, fraction: float, data: dict[str, Any]) -> None:
            # A promotion is told when the experiment is done, and then it has no heartbeat any more.
            if stage != PROMOTION and not await self._database.through(
                lambda: self._jobs.heartbeat(experiment.id, self._worker, progress=fraction, stage=stage), is_away
            ):
                lost.set()
                raise Stopped
            await self._event(
                experiment.id, _KINDS.get(stage, "progress"), {"stage": stage, "progress": fraction, **data}
            )

        @asynccontextmanager
        async def finishing() -> AsyncIterator[Finish]:
            async with self._jobs.finishing(experiment.id, self._worker) as finish:
                if finish is None:
                    lost.set()
                    raise Stopped
                yield finish

        files = AllowedFiles(self._settings.files)
        async with open_source(
            config, common, ctx.clock, instruments, pool=self._pool, in_stack=True, files=files, outage=self._broker
        ) as source:
            deps = Deps(
                clock=ctx.clock,
                instruments=instruments,
                pipeline=pipeline,
                source=source,
                store=self._store,
                code_version=version("tapelab"),
                num_threads=self._settings.num_threads,
                experiment_id=experiment.id,
                frozen=await self._frozen(experiment),
                registry=self._registry,
                ledger=PostgresLedger(self._pool),
                live_vectors=None
                if config.source.kind == "file"
                else functools.partial(live_vectors, common, self._broker, self._pool, config, instruments),
                finishing=finishing,
                should_stop=lambda: lost.is_set() or ctx.stopping.is_set(),
            )
            return await run_experiment(config, deps, report)

    async def _frozen(self, experiment: Experiment) -> tuple[Span, ...]:
        """Spans that an earlier attempt froze: a resumed experiment trains on the same prints."""
        if experiment.attempts <= 1:
            return ()
        for event in await self._jobs.events(experiment.id):
            if event.data.get("stage") == _FROZEN:
                return msgspec.convert(event.data["spans"], tuple[Span, ...])
        return ()

    async def _beat(self, id: str, lost: asyncio.Event) -> None:
        # Nobody can claim the experiment while the database is away; whether somebody has is known when it is back.
        while await self._database.through(lambda: self._jobs.heartbeat(id, self._worker), is_away):
            await self._ctx.clock.sleep(self._settings.heartbeat_s)
        lost.set()

    async def _interrupted(self, experiment: Experiment, error: BaseException) -> str:
        """A store went away in the middle: back to the queue, to be run again on the same spans."""
        why = f"interrupted, because a store went away ({type(error).__name__}: {error}); it is run again"
        self._ctx.log.warning(f"experiment {experiment.id}: {why}")
        await self._ctx.clock.sleep(_INTERRUPTED_S)
        return await self._settle(experiment.id, "queued", error=why)

    async def _fail(self, experiment: Experiment, error: str) -> str:
        self._log("experiment failed", experiment, error=error)
        return await self._settle(experiment.id, "failed", error=error)

    async def _settle(self, id: str, status: Literal["queued", "failed"], *, error: str | None = None) -> str:
        try:
            await self._database.through(lambda: self._jobs.set_status(id, status, error, worker=self._worker), is_away)
        except RegistryError as lost:
            # It was stopped, or another worker holds it by now; their word counts.
            self._ctx.log.warning(str(lost))
            return "stopped"
        await self._event(id, "status", {"status": status, **({"error": error} if error else {})})
        return status

    async def _event(self, subject: str, kind: EventKind, data: dict[str, Any]) -> None:
        event = await self._database.through(lambda: self._jobs.append_event(subject, kind, data), is_away)
        try:
            await self._publisher.send(topics.EVENTS, subject, encode(event))
        except OversizeRecord as error:
            self._ctx.log.error(f"an event is recorded but not announced: {error}")

    def _log(self, message: str, experiment: Experiment, **fields: Any) -> None:
        self._ctx.log.info(
            message, extra={"fields": {"experiment": experiment.id, "name_of_experiment": experiment.name, **fields}}
        )
