"""Tick to signal at an exact rate, and where the time goes, hop by hop.

Measured is each signal: from ingest's publishing of the print that completed its bar to an engine's receipt, on the
real service processes with a fixture model that decides every vector. The hops are differences of the stamps that
every record carries in its headers; the last one ends with the receipt and so holds, on Apache Kafka, the commit.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.cli.bench.pipeline.drive import CHAIN, TICKS_PER_BAR, Fed, Feed, Feeder, Stack, running, say
from tapelab.common import topics
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.headers import INGEST, read_stamp
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.settings import BrokerKind

#: Prints per second by the suffix of the row.
RATES: Final = {"1k": 1_000, "10k": 10_000, "100k": 100_000}
SYMBOLS: Final = 8
#: Prints of a symbol before the clock starts: features are warm after 300 bars of 50.
WARM: Final = 20_000
#: Seconds at the rate before that: a broker that has just been started compiles itself for as long.
RUN_IN_S: Final = 20.0
SECONDS: Final = {"1k": 60.0, "10k": 30.0, "100k": 20.0}
HOPS: Final = ("ingest to bars", "bars to features", "features to inference", "inference to engine")
PERCENTILES: Final = (50, 95, 99)
_SETTLE_S: Final = 2.0
_DRAIN_S: Final = 600.0


class Latency(NamedTuple):
    """Milliseconds of each signal: all of the way, and each hop, shape ``(n, 4)``."""

    total: npt.NDArray[np.float64]
    hops: npt.NDArray[np.float64]
    late_ms: float

    def percentile(self, which: float) -> float:
        """A percentile of the whole way, ms."""
        return float(np.percentile(self.total, which))


class Engine:
    """Receives signals as an execution engine does, and notes the stamps they carry."""

    def __init__(self, stack: Stack) -> None:
        self._settings = stack.settings
        self.stamps: list[tuple[int, ...]] = []
        self.last_s = time.monotonic()

    async def follow(self) -> None:
        """Read until cancelled."""
        async with TopicReader(self._settings, [topics.SIGNALS], start="earliest") as reader:
            while True:
                for record in await reader.poll():
                    now_ns = time.time_ns()
                    stamps = [read_stamp(record.headers, hop) for hop in (INGEST, *CHAIN)]
                    if None not in stamps:
                        self.stamps.append((*(s for s in stamps if s is not None), now_ns))
                    self.last_s = time.monotonic()


async def drained(stack: Stack, engine: Engine, fed: Fed, symbols: int, quiet_s: float = _SETTLE_S) -> None:
    """Wait until every bar of the prints so far has its vector, and no signal has come for a while after that.

    Raises:
        TapelabError: it takes longer than ten minutes.
    """
    expected = symbols * (fed.published // symbols // TICKS_PER_BAR)
    began = time.monotonic()
    async with TopicReader(stack.settings, [topics.FEATURES], start="earliest") as reader:
        while (there := await reader.lag()) < expected or time.monotonic() - max(engine.last_s, began) < quiet_s:
            if there < expected:
                engine.last_s = time.monotonic()
            if time.monotonic() - began > _DRAIN_S:
                raise TapelabError(
                    "the chain does not come to rest",
                    expected=f"{expected} vectors, and no signal for {quiet_s:g} s after them, within {_DRAIN_S:g} s",
                    actual=f"{there} vectors and {len(engine.stamps)} signals so far",
                    remedy=f"see whether the machine is busy, and read the logs in {stack.layout.logs}",
                )
            await asyncio.sleep(0.1)


async def measure(
    kind: BrokerKind, rate: int, seconds: float, folder: Path, *, warm: int = WARM, run_in_s: float = RUN_IN_S
) -> Latency:
    """Latency of the signals at one rate, those of the first ``run_in_s`` left out.

    Raises:
        TapelabError: nothing came.
    """
    async with running(kind, folder) as stack:
        engine = Engine(stack)
        following = asyncio.create_task(engine.follow())
        feeder = Feeder(
            stack,
            Feed(
                symbols=SYMBOLS,
                stops=(warm,),
                rate=rate,
                seconds=run_in_s + seconds,
                step_ns=int(SYMBOLS * 1e9 / rate),
            ),
        )
        try:
            await feeder.child.start()
            await drained(stack, engine, await feeder.reach("waiting"), SYMBOLS)
            await feeder.go()
            fed = await feeder.reach("done", limit_s=run_in_s + seconds + 120)
            await drained(stack, engine, fed, SYMBOLS)
        finally:
            await feeder.child.stop()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    begin_ns = fed.go_ns + int(run_in_s * 1e9)
    stamps = np.array([s for s in engine.stamps if s[0] > begin_ns], np.float64).reshape(-1, 5)
    if not len(stamps):
        raise TapelabError(
            "no signal came at the measured rate",
            expected="signals of the fixture model",
            actual=f"{len(engine.stamps)} before the clock started, none after",
            remedy=f"read the logs in {folder / 'logs'}",
        )
    return Latency((stamps[:, 4] - stamps[:, 0]) / 1e6, np.diff(stamps, axis=1) / 1e6, fed.late_ms)


def rows_of(found: Latency, kind: BrokerKind, name: str, rate: int) -> list[dict[str, Any]]:
    """One row for each percentile."""
    hops = "; ".join(
        f"{hop} {np.percentile(found.hops[:, at], 50):.0f}/{np.percentile(found.hops[:, at], 99):.0f}"
        for at, hop in enumerate(HOPS)
    )
    note = (
        f"{len(found.total)} signals of {SYMBOLS} symbols at {rate:,} prints/s, {kind} broker, micro-batch 150 ms, "
        f"after {RUN_IN_S:g} s at that rate; "
        f"from ingest's publishing of the print that completed the bar to an engine's receipt; "
        f"p50/p99 by hop, ms: {hops}; feeder at most {found.late_ms:.0f} ms late"
    )
    return [
        {
            "work": f"tick_to_signal_p{p}{suffix(kind, name)}",
            "unit": "ms",
            "higher_is_better": False,
            "tapelab": round(found.percentile(p), 1),
            "peers": {},
            "floor": None,
            "note": note,
        }
        for p in PERCENTILES
    ]


def suffix(kind: BrokerKind, name: str) -> str:
    """What a row's name ends with; plain is the embedded broker at a thousand prints a second."""
    return ("_kafka" if kind == "kafka" else "") + ("" if (kind, name) == ("embedded", "1k") else f"_{name}")


async def latency(
    kinds: tuple[BrokerKind, ...], names: tuple[str, ...], folder: Path
) -> tuple[list[dict[str, Any]], dict[str, Latency]]:
    """Rows of all brokers and rates, and what was measured by the end of the rows' names."""
    rows: list[dict[str, Any]] = []
    found: dict[str, Latency] = {}
    for kind in kinds:
        for name in names:
            say(f"tick to signal, {kind} broker, {RATES[name]:,} prints/s for {SECONDS[name]:g} s")
            got = await measure(kind, RATES[name], SECONDS[name], folder / f"latency-{kind}-{name}")
            found[f"{kind} {name}"] = got
            rows += rows_of(got, kind, name, RATES[name])
    return rows, found
