"""``make soak MINUTES=60``: the rig for a long time under random faults, and a report of what came of it.

Exits with 1 if anything was lost, doubled, different or out of order. The seed in the report replays the same
order of faults: ``make soak SEED=N``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from tapelab.cli.stack.backends import ApacheKafka, EmbeddedBroker
from tapelab.cli.stack.layout import Layout
from tapelab.cli.stack.ports import free_port
from tests.fixtures_kafka import REPOSITORY, Broker, LoopThread, java_environ, missing_for_kafka, two_listeners
from tests.recovery.proxy import Proxy
from tests.recovery.rig import SERVICES, STAGES
from tests.recovery.scene import MEMORY_BYTES, Scene, scene


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a soak found."""

    broker: str
    seed: int
    minutes: float
    prints: int
    events: int
    signals: int
    models: int
    faults: dict[str, int]
    lost: int
    doubled: int
    repeated: int
    trouble: list[str]
    ended_by_themselves: list[str]
    memory_mb: dict[str, float]
    recoveries: int
    recovery_s_p50: float
    recovery_s_max: float
    sound: bool


class Soak:
    """Faults one after another, drawn from a seed."""

    def __init__(self, world: Scene, broker: Broker, proxy: Proxy, seed: int) -> None:
        self._world = world
        self._rig = world.rig
        self._broker = broker
        self._proxy = proxy
        self._rng = random.Random(seed)
        faults = [self.kill, self.kill, self.kill, self.pair, self.frozen, self.stores, self.network, self.swap]
        if broker.environ["TAPELAB_BROKER_KIND"] == "kafka":
            faults.append(self.broker)
        self._faults: list[Callable[[], Awaitable[None]]] = faults

    async def run(self, until: float) -> None:
        """One fault after another until the time is over, with a line of progress."""
        began = time.monotonic()
        while time.monotonic() < until:
            fault = self._rng.choice(self._faults)
            await self._rig.ready(timeout_s=120)
            await self._rig.after(self._rng.uniform(0.0, 2.0))
            await fault()
            self._say(time.monotonic() - began)
        print(file=sys.stderr)

    async def kill(self) -> None:
        """One service."""
        await self._rig.kill(self._rng.choice(SERVICES))

    async def pair(self) -> None:
        """Two at once."""
        await self._rig.kill(*self._rng.sample(SERVICES, 2))

    async def frozen(self) -> None:
        """A service that does not answer for a while, sometimes for longer than its session."""
        name = self._rng.choice(STAGES)
        self._rig.freeze(name)
        await self._rig.after(self._rng.choice((2.0, 5.0, 13.0)))
        self._rig.thaw(name)

    async def stores(self) -> None:
        """PostgreSQL or Redis dies for a while; a lost pointer is set again."""
        backend = self._rng.choice((self._rig.postgres, self._rig.redis))
        await self._rig.kill_backend(backend)
        await self._rig.after(self._rng.uniform(0.5, 4.0))
        await self._rig.revive(backend)
        if backend is self._rig.redis:
            await self._rig.champions.crown()

    async def network(self) -> None:
        """Everything between services and broker is slow, reset, half open or gone."""
        kind = self._rng.choice(("latency", "reset", "half open", "cut"))
        self._rig.count(f"network: {kind}")
        if kind == "latency":
            self._proxy.latency_s = 0.05
        elif kind == "reset":
            await self._proxy.reset()
        elif kind == "half open":
            self._proxy.swallow()
        else:
            await self._proxy.cut()
        await self._rig.after(self._rng.uniform(0.5, 5.0))
        if kind == "cut":
            await self._proxy.listen()
        self._proxy.heal()

    async def swap(self) -> None:
        """Another champion."""
        self._rig.count("model swap")
        await self._rig.champions.crown()

    async def broker(self) -> None:
        """The broker dies and comes back with its log."""
        self._rig.count("kill -9 of the broker")
        await asyncio.to_thread(self._broker.kill)
        await self._rig.after(self._rng.uniform(0.0, 4.0))
        await asyncio.to_thread(self._broker.start)

    def _say(self, elapsed_s: float) -> None:
        peak = max(self._rig.peaks().items(), key=lambda pair: pair[1])
        done = sum(self._rig.faults.values())
        print(
            f"\r{elapsed_s / 60:6.1f} min  {self._world.feeder.prints:,} prints  {done} faults  "
            f"most memory {peak[0]} {peak[1] >> 20} MB  {len(self._rig.recoveries)} recoveries ",
            end="",
            file=sys.stderr,
            flush=True,
        )


@contextlib.asynccontextmanager
async def started(kind: str) -> AsyncIterator[Broker]:
    """A broker that sends services to a proxy."""
    thread = LoopThread()
    proxy, behind = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="tls-") as folder:
        layout = Layout(Path(folder))
        if kind == "kafka":
            properties = two_listeners(proxy, behind)
            kafka = ApacheKafka(layout, REPOSITORY, java_environ(), properties=properties, keep_log=True)
            broker = Broker(thread, kafka, (proxy, behind))
        else:
            broker = Broker(thread, EmbeddedBroker(layout, port=behind, advertised=proxy), (proxy, behind))
        await asyncio.to_thread(broker.start)
        try:
            yield broker
        finally:
            await asyncio.to_thread(broker.kill)
            thread.close()


async def soak(minutes: float, kind: str, seed: int) -> Report:
    """Run and judge."""
    async with started(kind) as broker:
        direct = broker.environ if kind == "kafka" else broker.proxied
        async with (
            Proxy(("127.0.0.1", broker.behind_port), broker.proxy_port) as proxy,
            scene(broker.proxied, "soak", seed, direct=direct) as world,
        ):
            async with world.feeding(pause_s=0.2):
                await Soak(world, broker, proxy, seed).run(time.monotonic() + minutes * 60)
                await world.rig.ready(timeout_s=120)
            print("holding every record against a recomputation", file=sys.stderr)
            found = await world.judged(timeout_s=120 + minutes * 10)
            print(found.describe(), file=sys.stderr)
            if not found.sound:
                print(world.rig.story(), file=sys.stderr)
            took = [recovery.seconds for recovery in world.rig.recoveries] or [0.0]
            peaks = world.rig.peaks()
            return Report(
                broker=kind,
                seed=seed,
                minutes=minutes,
                prints=world.feeder.prints,
                events=found.events,
                signals=found.signals,
                models=len(found.models),
                faults=dict(sorted(world.rig.faults.items())),
                lost=found.lost,
                doubled=found.doubled,
                repeated=found.repeated,
                trouble=found.trouble[:50],
                ended_by_themselves=world.rig.deaths[:50],
                memory_mb={name: round(peak / 2**20, 1) for name, peak in peaks.items()},
                recoveries=len(took),
                recovery_s_p50=round(statistics.median(took), 2),
                recovery_s_max=round(max(took), 2),
                sound=found.sound and max(peaks.values()) < MEMORY_BYTES,
            )


def show(report: Report) -> str:
    """The report for people."""
    rows = [
        ("broker, seed", f"{report.broker}, {report.seed}"),
        ("minutes", f"{report.minutes:g}"),
        ("prints, records, signals", f"{report.prints:,}, {report.events:,}, {report.signals:,}"),
        ("models that decided", str(report.models)),
        *((f"fault: {kind}", str(count)) for kind, count in report.faults.items()),
        ("lost", str(report.lost)),
        ("doubled", str(report.doubled)),
        ("written again, dropped by readers", str(report.repeated)),
        ("ended by themselves", str(len(report.ended_by_themselves))),
        *((f"most memory of {name}", f"{mb} MB") for name, mb in report.memory_mb.items()),
        (f"recovery p50, max of {report.recoveries}", f"{report.recovery_s_p50} s, {report.recovery_s_max} s"),
        ("verdict", "sound" if report.sound else "NOT sound"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def main() -> None:
    """Entry point of ``make soak``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--seed", type=int, default=None, help="replays a run's order of faults; random by default")
    parser.add_argument("--report", type=Path, default=REPOSITORY / "test-artifacts" / "soak.json")
    options = parser.parse_args()
    missing = missing_for_kafka() if options.broker == "kafka" else ""
    if missing:
        sys.exit(f"the soak on Apache Kafka needs {missing}; install it, or run make soak BROKER=embedded")
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"soak of {options.minutes:g} min on {options.broker}, seed {seed}", file=sys.stderr)
    report = asyncio.run(soak(options.minutes, options.broker, seed))
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    print(f"{show(report)}\nreport: {options.report}")
    sys.exit(0 if report.sound else 1)


if __name__ == "__main__":
    main()
