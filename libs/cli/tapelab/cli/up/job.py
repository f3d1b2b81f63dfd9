"""The main job: the tape's first part trains a model, the gate judges it, the rest of the tape is decided live."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
from redis.exceptions import RedisError

from tapelab.cli.up.observer import SignalObserver
from tapelab.cli.up.options import Result, UpOptions
from tapelab.cli.up.screen import Screen
from tapelab.cli.up.supervisor import READY_S, SERVICES, Supervisor
from tapelab.cli.up.verify import Verification, verify
from tapelab.common.clock import Clock
from tapelab.common.errors import TapelabError
from tapelab.common.settings import CommonSettings
from tapelab.common.storage import redis as redis_storage
from tapelab.common.storage.halts import Halts
from tapelab.common.storage.jobs import Jobs
from tapelab.common.storage.pointers import ROLES
from tapelab.common.storage.postgres import create_pool
from tapelab.common.storage.registry import Registry
from tapelab.common.storage.streams import forget_replays

_POLL_S = 0.25


class Job:
    """Drives one run through the gateway, as a person at the page would."""

    def __init__(
        self,
        options: UpOptions,
        experiment: dict[str, Any],
        settings: CommonSettings,
        clock: Clock,
        screen: Screen,
        supervisor: Supervisor,
        observer: SignalObserver,
        gateway: str,
    ) -> None:
        self._options = options
        self._experiment = experiment
        self._settings = settings
        self._clock = clock
        self._screen = screen
        self._supervisor = supervisor
        self._observer = observer
        self._gateway = gateway
        self._redis = redis_storage.connect(settings.redis_url)
        self._released = False
        self._restarts = 0

    async def prepare(self) -> None:
        """Bring the pointers to where a run begins.

        Every run reads its source from the start, and an earlier run's models may have been trained on what
        comes, so they are retired first (recorded, and back with a forced rollback). What an earlier run left in the
        queue would be trained ahead of this run's own, on a stream that has ended: it is stopped.
        """
        pool = await create_pool(self._settings.postgres_dsn)
        try:
            for left in await Jobs(pool, self._clock).stop_all("the run that asked for it has ended"):
                self._screen.note(f"{left} of an earlier run had not ended; it is stopped")
            if forgotten := await forget_replays(pool, self._options.keep_replays):
                self._screen.note(
                    f"ticks_raw: forgot the prints of {len(forgotten)} streams of earlier replays "
                    f"(--keep-replays {self._options.keep_replays})"
                )
            registry = Registry(pool, self._redis, self._clock, self._settings.namespace)
            for role in ROLES:
                await registry.retire(role, reason="a run reads its source from the start")
            await registry.rebuild_redis()
            halts = Halts(pool, self._redis, self._settings.namespace)
            await halts.sync()
            for symbol, halt in (await halts.current()).items():
                self._screen.note(f"{symbol} is halted since before ({halt.reason}): tapelab resume '{symbol}' ends it")
        finally:
            await pool.close()

    async def run(self, started_ns: int) -> Result | None:
        """Play, train, gate, play on; returns once enough signals came, or never.

        Raises:
            TapelabError: a step failed, or the tape ended before enough signals came.
        """
        await self._supervisor.ready(tuple(spec.name for spec in SERVICES), self._screen.phase)
        self._screen.phase("playing the tape's first part")
        replay = await self._replay_until("waiting", "done")
        if replay["rejects"]:
            self._screen.note(f"{replay['rejects']:,} malformed rows so far, listed in {replay['rejects_path']}")
        async with httpx.AsyncClient(base_url=self._gateway, timeout=30.0) as http:
            experiment = await self._train(http, replay)
            if experiment is None:
                self._screen.note("the experiment was stopped: no model, so no signals until one is promoted")
                champion, train_s = None, 0.0
            else:
                champion = await self._report(http, experiment)
                train_s = (int(experiment["updated_ns"]) - int(experiment["created_ns"])) / 1e9
        self._screen.phase("playing the rest of the tape" + ("; signals flow" if experiment else ""))
        await self._release(replay)
        wanted = self._options.exit_after_signals
        if not wanted:
            await self._watch_end()
            await asyncio.Event().wait()
        await self._wait_for_signals(wanted)
        return await self._finish(champion, train_s, started_ns)

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()

    async def _replay_until(self, *states: str) -> dict[str, Any]:
        """The replay's status once it is in one of the states, whatever becomes of Redis and ingest meanwhile."""
        while True:
            status = await self._replay_status()
            if status is not None:
                if status["state"] in states:
                    return status
                if self._released and status["state"] == "waiting":
                    await self._release(status)  # a lost Redis has forgotten it
            await asyncio.sleep(_POLL_S)

    async def _replay_status(self) -> dict[str, Any] | None:
        try:
            raw = await self._redis.get(self._key("replay:status"))
        except (RedisError, OSError, TimeoutError):
            return None
        if raw is None:
            return None
        status: dict[str, Any] = msgspec.json.decode(raw)
        if status.get("restarts", 0) > self._restarts:
            self._restarts = status["restarts"]
            self._screen.note(f"{status['restarted']}: the source is begun again, under new streams")
        return status

    async def _release(self, replay: dict[str, Any]) -> None:
        self._released = True
        while True:
            try:
                await self._redis.set(self._key("replay:release"), replay["run"])
                return
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(_POLL_S)

    async def _train(self, http: httpx.AsyncClient, replay: dict[str, Any]) -> dict[str, Any] | None:
        """The experiment once it is done; None where somebody has stopped it and no signals are waited for."""
        config = {**self._experiment, "source": {"kind": "ticks_raw"}, "symbols": sorted(replay["symbols"])}
        if replay.get("cut_ts_ns"):
            config["cut_ts_ns"] = str(replay["cut_ts_ns"])
        answer = await self._ask(http, "POST", "/ml/experiments", {"config": config})
        if answer.status_code != 201:
            raise _refused("the gateway refused the experiment", answer)
        identifier = answer.json()["id"]
        shown = ""
        while True:
            answer = await self._ask(http, "GET", f"/ml/experiments/{identifier}")
            if answer.status_code != 200:
                raise _refused("the gateway lost the experiment", answer)
            experiment: dict[str, Any] = answer.json()
            if experiment["status"] == "done":
                return experiment
            if experiment["status"] == "stopped" and not self._options.exit_after_signals:
                return None
            if experiment["status"] in ("failed", "stopped"):
                raise TapelabError(
                    f"experiment {identifier} {experiment['status']}",
                    expected="a trained model",
                    actual="none",
                    remedy=str(experiment.get("error") or "read the trainer's log"),
                )
            stage = (
                f"training: {experiment.get('stage') or experiment['status']} ({experiment.get('progress') or 0:.0%})"
            )
            if stage != shown:
                shown = stage
                self._screen.phase(stage)
            await asyncio.sleep(_POLL_S)

    async def _ask(
        self, http: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None = None
    ) -> httpx.Response:
        """A request that outlives a restart of the gateway or of a store behind it.

        One that changes something is sent again only where it was refused or did not get through.

        Raises:
            TapelabError: the gateway does not answer.
        """
        deadline = asyncio.get_running_loop().time() + READY_S
        while True:
            try:
                answer = await http.request(method, path, json=body)
                # A store is away, and whoever watches over it starts it again.
                if answer.status_code != 503 or asyncio.get_running_loop().time() > deadline:
                    return answer
                await asyncio.sleep(_POLL_S)
            except httpx.TransportError as error:
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if (method == "GET" or unsent) and asyncio.get_running_loop().time() < deadline:
                    await asyncio.sleep(_POLL_S)
                    continue
                raise TapelabError(
                    f"the gateway does not answer (log: {self._supervisor.log('api')})",
                    expected=f"an answer to {method} {path}",
                    actual=str(error) or type(error).__name__,
                    remedy="read the log file",
                ) from error

    async def _report(self, http: httpx.AsyncClient, experiment: dict[str, Any]) -> str | None:
        """Say what the gate found; the champion's id, None where the model runs as a shadow."""
        model, gate = experiment["model_id"], experiment["gate"]
        if gate is None or model is None:
            raise TapelabError(
                f"experiment {experiment['id']} ended without a judgement",
                expected="a model and the gate's rules",
                actual=f"model {model}, gate {gate}",
                remedy="read the trainer's log",
            )
        for rule in gate["rules"]:
            mark = "pass" if rule["passed"] else "FAIL"
            self._screen.note(f"gate {mark} {rule['id']}: {rule['reason']}")
        if gate["passed"]:
            self._screen.note(f"champion: {model}")
            return str(model)
        failed = ", ".join(rule["id"] for rule in gate["rules"] if not rule["passed"])
        self._screen.note(f"no model passed the gate ({failed}); {model} runs as a shadow and its signals say so")
        return None

    async def _watch_end(self) -> None:
        await self._replay_until("done", "following")
        self._screen.phase("the tape has ended; everything stays up until Ctrl-C")

    async def _wait_for_signals(self, wanted: int) -> None:
        replay = asyncio.create_task(self._replay_until("done"))
        try:
            while self._observer.signals < wanted:
                self._observer.changed.clear()
                news = asyncio.create_task(self._observer.changed.wait())
                await asyncio.wait({news, replay}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if replay.done() and self._observer.signals < wanted:
                    await asyncio.sleep(5)  # what the last prints lead to is still on its way
                    if self._observer.signals < wanted:
                        raise TapelabError(
                            "the tape ended too early",
                            expected=f"{wanted} signals",
                            actual=f"{self._observer.signals}",
                            remedy="ask for fewer with EXIT_AFTER_SIGNALS, or play a longer tape"
                            if self._observer.signals
                            else "the model saw no edge above cost on this tape: play a longer or another one",
                        )
        finally:
            replay.cancel()

    async def _finish(self, champion: str | None, train_s: float, started_ns: int) -> Result:
        self._screen.phase("stopping the tape and holding everything against an offline recomputation")
        latency, first_ns = self._observer.latency_ms(), self._observer.first_ns
        await self._supervisor.stop("ingest")
        found = await verify(self._settings, self._options, self._clock)
        for topic, difference in found.by_topic.items():
            self._screen.note(f"{topic}: {difference.describe()}")
        for topic, letters in found.dead.items():
            self._screen.note(f"{topic}: {letters} dead letters")
        now_ns = self._clock.monotonic_ns()
        wall_from_ns = self._clock.now_ns() - (now_ns - started_ns)
        return Result(
            ticks=found.ticks,
            bars=found.bars,
            features=found.features,
            signals=found.signals,
            lost=found.lost,
            doubled=found.doubled,
            latency_ms=latency,
            champion=champion,
            train_s=round(train_s, 2),
            first_signal_s=None if first_ns is None else round((first_ns - wall_from_ns) / 1e9, 2),
            wall_s=round((now_ns - started_ns) / 1e9, 2),
        )

    def _key(self, name: str) -> str:
        return redis_storage.key(self._settings.namespace, name)


def check(result: Result) -> None:
    """Fail where something was lost or doubled.

    Raises:
        TapelabError: it was.
    """
    if result.lost or result.doubled:
        raise TapelabError(
            "what flowed differs from the offline recomputation",
            expected="nothing lost, nothing doubled",
            actual=f"{result.lost} lost, {result.doubled} doubled",
            remedy="see the lines per topic above and the logs of the services",
        )


def _refused(what: str, answer: httpx.Response) -> TapelabError:
    return TapelabError(
        what, expected="success", actual=f"HTTP {answer.status_code}: {answer.text[:500]}", remedy="see the api log"
    )


__all__ = ["Job", "Verification", "check"]
