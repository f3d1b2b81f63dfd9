"""How long after a kill -9 a stage gives new output again, with an hour of tape behind it.

The clock starts with the kill and stops when every partition has given an output whose print was published after the
kill: by then the supervisor has restarted the process, the state is restored, and what the snapshot did not hold is
replayed. Prints come at a thousand a second all the while.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from tapelab.cli.bench.pipeline.drive import CHAIN, Feed, Feeder, Stack, running, say
from tapelab.cli.bench.pipeline.latency import SYMBOLS, Engine, drained
from tapelab.cli.bench.pipeline.tape import symbols
from tapelab.common import topics
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.headers import INGEST, read_stamp
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.settings import BrokerKind

RATE: Final = 1_000
#: An hour at that rate.
BEHIND: Final = 3_600_000
#: The default interval of snapshots, and some.
BETWEEN_S: Final = 20.0
LIMIT_S: Final = 60.0
_OUTPUT: Final = {"bars": topics.BARS, "features": topics.FEATURES, "inference": topics.SIGNALS}


async def seconds_after_kill(stack: Stack, service: str) -> float:
    """Kill one service; seconds until every partition with symbols gives what is newer than the kill.

    Raises:
        TapelabError: it does not within a minute.
    """
    waiting = {topics.partition_of(symbol, stack.settings.partitions) for symbol in symbols(SYMBOLS)}
    async with TopicReader(stack.settings, [_OUTPUT[service]], start="latest") as reader:
        killed_ns, began = time.time_ns(), time.monotonic()
        stack.kill(service)
        while waiting:
            for record in await reader.poll(timeout_s=0.05):
                if (read_stamp(record.headers, INGEST) or 0) > killed_ns:
                    waiting.discard(record.partition)
            if time.monotonic() - began > LIMIT_S:
                raise TapelabError(
                    f"{service} does not recover",
                    expected=f"new output of every partition within {LIMIT_S:g} s of kill -9",
                    actual=f"none of partitions {sorted(waiting)}",
                    remedy=f"read {stack.supervisor.log(service)}",
                )
        return time.monotonic() - began


async def measure(
    kind: BrokerKind, folder: Path, *, behind: int = BEHIND, between_s: float = BETWEEN_S
) -> dict[str, float]:
    """Seconds by service."""
    feed = Feed(
        symbols=SYMBOLS,
        stops=(behind // SYMBOLS,),
        rate=RATE,
        seconds=len(CHAIN) * (between_s + LIMIT_S),
        step_ns=int(SYMBOLS * 1e9 / RATE),
    )
    found: dict[str, float] = {}
    async with running(kind, folder) as stack:
        engine = Engine(stack)
        following = asyncio.create_task(engine.follow())
        feeder = Feeder(stack, feed)
        try:
            await feeder.child.start()
            await drained(stack, engine, await feeder.reach("waiting"), SYMBOLS)
            await feeder.go()
            for service in CHAIN:
                await asyncio.sleep(between_s)
                found[service] = await seconds_after_kill(stack, service)
                say(f"{service} gave new output {found[service]:.2f} s after kill -9")
        finally:
            await feeder.child.stop()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    return found


async def recovery(kinds: tuple[BrokerKind, ...], folder: Path) -> list[dict[str, Any]]:
    """Rows of all brokers and stages."""
    rows = []
    for kind in kinds:
        say(f"recovery, {kind} broker, {BEHIND:,} prints behind it")
        for service, seconds in (await measure(kind, folder / f"recovery-{kind}")).items():
            rows.append(
                {
                    "work": f"recovery_s_{service}" + ("_kafka" if kind == "kafka" else ""),
                    "unit": "s",
                    "higher_is_better": False,
                    "tapelab": round(seconds, 2),
                    "peers": {},
                    "floor": None,
                    "note": f"{kind} broker; from kill -9 until every partition has given an output of a print "
                    f"published after the kill; {BEHIND:,} prints of {SYMBOLS} symbols behind it, {RATE:,} prints/s "
                    "meanwhile, snapshots at the default interval; starting the process is part of it",
                }
            )
    return rows


__all__ = ["measure", "recovery", "seconds_after_kill"]
