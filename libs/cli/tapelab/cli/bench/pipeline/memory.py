"""Memory of every service, and what the log takes, while ten million prints of fifty symbols go through.

Samples are taken when all signals of the prints so far are out; a service is flat where the last sample is not above
the one at half way by more than a tenth. The embedded broker holds the whole log in memory, so it is listed apart,
with what each topic has added to it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, NamedTuple

from tapelab.cli.bench.pipeline.drive import EVERY_SERVICE, Feed, Feeder, Stack, running, say
from tapelab.cli.bench.pipeline.latency import Engine, drained
from tapelab.common import topics
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.settings import BrokerKind

PRINTS: Final = 10_000_000
SYMBOLS: Final = 50
SAMPLES: Final = 4
#: 100 ms between two prints of a symbol: its 200,000 fit one session.
STEP_NS: Final = 100_000_000
_TOPICS: Final = (
    *(topics.TICKS, topics.BARS, topics.FEATURES, topics.SIGNALS),
    *(topics.state_topic(stage) for stage in ("bars", "features", "inference")),
)


class Memory(NamedTuple):
    """Resident MB by process at each sample, and bytes and records of each topic at the end."""

    prints: list[int]
    resident_mb: list[dict[str, float]]
    topic_bytes: dict[str, tuple[int, int]]


async def measure(
    kind: BrokerKind,
    folder: Path,
    *,
    total: int = PRINTS,
    count: int = SYMBOLS,
    services: tuple[str, ...] = EVERY_SERVICE,
) -> Memory:
    """Memory at each quarter of the prints."""
    stops = tuple(total // count * part // SAMPLES for part in range(1, SAMPLES + 1))
    sampled: list[dict[str, float]] = []
    async with running(kind, folder, services) as stack:
        engine = Engine(stack)
        following = asyncio.create_task(engine.follow())
        feeder = Feeder(stack, Feed(symbols=count, stops=stops, step_ns=STEP_NS))
        try:
            await feeder.child.start()
            for stop in stops:
                fed = await feeder.reach("waiting")
                if "features" in services:
                    await drained(stack, engine, fed, count, quiet_s=5.0)
                sampled.append(stack.memory_mb(services))
                say(f"{stop * count:,} prints: " + ", ".join(f"{k} {v:.0f} MB" for k, v in sampled[-1].items()))
                await feeder.go()
        finally:
            await feeder.child.stop()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        return Memory([stop * count for stop in stops], sampled, await _topic_bytes(stack))


async def _topic_bytes(stack: Stack) -> dict[str, tuple[int, int]]:
    found = {}
    for topic in _TOPICS:
        size = count = 0
        async with TopicReader(stack.settings, [topic], start="earliest") as reader:
            while await reader.lag() > 0:
                for record in await reader.poll(timeout_s=1.0):
                    size += len(record.value or b"") + len(record.key or b"")
                    size += sum(len(name) + len(value) for name, value in record.headers)
                    count += 1
        found[topic] = (size, count)
    return found


def rows_of(found: Memory, kind: BrokerKind) -> list[dict[str, Any]]:
    """One row for the services together, and one for each process."""
    end = "_kafka" if kind == "kafka" else ""
    services = [name for name in found.resident_mb[-1] if name != "broker"]
    course = {name: [round(sample[name]) for sample in found.resident_mb] for name in (*services, "broker")}
    all_of_them = [round(sum(sample[name] for name in services)) for sample in found.resident_mb]
    log = ", ".join(f"{topic} {size / found.prints[-1]:.1f}" for topic, (size, _) in found.topic_bytes.items())
    at = "/".join(f"{n / 1e6:g}" for n in found.prints)
    rows = [
        _row(
            f"memory_services{end}",
            all_of_them[-1],
            f"all services together (resident MB after {at} M prints: {all_of_them}); the broker is listed apart; "
            f"bytes a print by topic: {log}",
        )
    ]
    for name in (*services, "broker"):
        flat = course[name][-1] <= 1.1 * course[name][SAMPLES // 2 - 1]
        note = f"resident MB after {at} M prints: {course[name]}: {'flat' if flat else 'grows'}"
        rows.append(_row(f"memory_{name}{end}", course[name][-1], note))
    return rows


def _row(work: str, figure: float, note: str) -> dict[str, Any]:
    return {
        "work": work,
        "unit": "MB",
        "higher_is_better": False,
        "tapelab": figure,
        "peers": {},
        "floor": None,
        "note": note,
    }


async def memory(kinds: tuple[BrokerKind, ...], folder: Path) -> list[dict[str, Any]]:
    """Rows of all brokers."""
    rows = []
    for kind in kinds:
        say(f"memory, {kind} broker, {PRINTS:,} prints of {SYMBOLS} symbols")
        rows += rows_of(await measure(kind, folder / f"memory-{kind}"), kind)
    return rows
