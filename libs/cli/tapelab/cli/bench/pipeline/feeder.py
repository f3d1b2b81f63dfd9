"""The feeder: publishes prints as ingest does, at an exact rate; a process of its own, like ingest.

``python -m tapelab.cli.bench.pipeline.feeder FOLDER FEED`` with FEED as JSON. It writes ``status.json`` in the
folder and goes on from a stop once a file ``go`` is there, which it removes.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry

from tapelab.cli.bench.pipeline.drive import Fed, Feed
from tapelab.cli.bench.pipeline.tape import EXCHANGE, LINEAGE, opening_ns, prints, symbols
from tapelab.common.clock import SystemClock
from tapelab.common.instruments import load_instruments
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.settings import PREFIX, CommonSettings, load
from tapelab.common.sources.protocol import TapeChunk
from tapelab.ingest.lanes import FLAT_OUT_ROWS, PACED_ROWS, IngestMetrics, Lanes
from tapelab.quant.ticks import Ticks

#: As ingest publishes by the tape's clock.
PACE_NS: Final = 25_000_000
#: Prints of a symbol that go out before it is the next symbol's turn.
_TURN: Final = FLAT_OUT_ROWS


class _Feeding:
    def __init__(self, folder: Path, feed: Feed, lanes: Lanes, tapes: dict[str, Ticks]) -> None:
        self._folder = folder
        self._feed = feed
        self._lanes = lanes
        self._tapes = tapes
        self._at = 0
        self._status = Fed()
        self._clock = SystemClock()

    async def run(self) -> None:
        """Each stop and the wait there, then the paced part."""
        for stop in self._feed.stops:
            while self._at < stop:
                await self._publish(min(self._at + _TURN, stop), FLAT_OUT_ROWS)
                self._tell("going")
            await self._lanes.flush()
            self._tell("waiting")
            go = self._folder / "go"
            while not go.exists():
                await self._clock.sleep(0.02)
            # In this order: whoever sees the file gone must not read that it still waits.
            self._tell("going")
            go.unlink()
        if self._feed.rate:
            await self._paced()
            await self._lanes.flush()
        self._tell("done")

    async def _paced(self) -> None:
        warm = self._feed.stops[-1]
        per_symbol = self._feed.rate / self._feed.symbols
        begin_ns = self._clock.monotonic_ns()
        self._status.go_ns = self._clock.now_ns()
        steps = int(self._feed.seconds * 1e9 / PACE_NS)
        for step in range(1, steps + 1):
            due_ns = begin_ns + step * PACE_NS
            wait_ns = due_ns - self._clock.monotonic_ns()
            if wait_ns > 0:
                await self._clock.sleep(wait_ns / 1e9)
            self._status.late_ms = max(self._status.late_ms, -wait_ns / 1e6)
            # Event time stands still between two steps, as on a tape that is read by its own clock.
            await self._publish(warm + int(per_symbol * step * PACE_NS / 1e9), PACED_ROWS)
            if step % 40 == 0:
                self._tell("going")

    async def _publish(self, upto: int, rows: int) -> None:
        for symbol, tape in self._tapes.items():
            part = tape.slice(self._at, upto)
            if part.n:
                await self._lanes.publish(TapeChunk(symbol, EXCHANGE, part), rows)
                self._status.published += part.n
        self._at = max(self._at, upto)

    def _tell(self, state: str) -> None:
        self._status.state = state
        scratch = self._folder / "status.new"
        scratch.write_bytes(msgspec.json.encode(self._status))
        scratch.replace(self._folder / "status.json")


async def feed_all(folder: Path, feed: Feed, settings: CommonSettings) -> None:
    """Publish everything."""
    instruments = load_instruments(settings.config_dir)
    n = feed.stops[-1] + int(feed.rate / feed.symbols * feed.seconds) + 1
    tapes = {
        symbol: prints(n, seed=at, first_ns=opening_ns(instruments, symbol), step_ns=feed.step_ns)
        for at, symbol in enumerate(symbols(feed.symbols))
    }

    async def stream(_: str) -> int:
        return feed.stream

    async with Publisher(settings) as publisher:
        metrics = IngestMetrics(CollectorRegistry())
        clock = SystemClock()
        lanes = Lanes(publisher, clock, instruments, stream, LINEAGE, metrics, partitions=settings.partitions)
        await _Feeding(folder, feed, lanes, tapes).run()


def main() -> None:
    """Run."""
    settings = load(CommonSettings, {k: v for k, v in os.environ.items() if k.startswith(PREFIX)})
    asyncio.run(feed_all(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Feed), settings))


if __name__ == "__main__":
    main()
