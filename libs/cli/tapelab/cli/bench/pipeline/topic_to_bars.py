"""Prints per second from the topic through the bars stage in its host, until the broker has acknowledged every bar.

The host, its stage, writer and client are those of the bars service, run in this process with its interpreter tuned as
there; broker and host share the cores. The clock starts when the host hands its stage the first records and stops when
the output topic holds every bar.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tapelab.bars.stage import BarsStage
from tapelab.cli.bench.pipeline import peers
from tapelab.cli.bench.pipeline.drive import broker_of, say
from tapelab.cli.bench.pipeline.tape import EXCHANGE, LINEAGE, opening_ns, prints, symbols
from tapelab.common import topics
from tapelab.common.codec import encode
from tapelab.common.errors import TapelabError
from tapelab.common.instruments import Instruments, load_instruments
from tapelab.common.pipeline import Pipeline
from tapelab.common.runtime.garbage import Garbage
from tapelab.common.runtime.host import Host
from tapelab.common.runtime.kafka import create_topics
from tapelab.common.runtime.patience import patiently
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.runtime.service import SWITCH_S, ServiceContext
from tapelab.common.runtime.stage import Record, Step
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.settings import BrokerKind, CommonSettings
from tapelab.quant.ticks import Ticks

SPEC: Final = "volume:1000"
SYMBOL: Final = symbols(1)[0]
#: Prints of a pass by the prints of a record: frames, and one record per print.
PRINTS: Final = {512: 4_000_000, 1: 100_000}
ROUNDS: Final = 3
_POLL_S: Final = 0.01
_LIMIT_S: Final = 300.0


class Run(NamedTuple):
    """One pass: seconds by the clock and of this process's CPU, and bars written."""

    seconds: float
    cpu_s: float
    bars: int


class _OnePrint(msgspec.Struct, array_like=True):
    """How most systems put a print on a topic: one record, one struct."""

    symbol: str
    ts_event_ns: int
    price: float
    volume: float
    aggressor: int


def tape(instruments: Instruments, n: int) -> Ticks:
    """One symbol's prints, a thousand a second by its own clock, over as many trading days as it takes."""
    per_day = 9 * 3600 * 1000
    days = [
        prints(
            min(per_day, n - at),
            seed=7 + at // per_day,
            first_ns=opening_ns(instruments, SYMBOL, at // per_day),
            step_ns=1_000_000,
        )
        for at in range(0, n, per_day)
    ]
    return Ticks.concatenate(days)


def frames(ticks: Ticks, rows: int) -> list[bytes]:
    """Columnar records of ``rows`` prints each."""
    return [
        encode(
            TickBatch.pack(
                ticks.slice(first, first + rows),
                symbol=SYMBOL,
                exchange=EXCHANGE,
                stream=1,
                lineage=LINEAGE,
                first_seq=first,
            )
        )
        for first in range(0, ticks.n, rows)
    ]


def singles(ticks: Ticks) -> list[bytes]:
    """A plain record for each print: what the peers read where a record is a print."""
    columns = (ticks.ts_event_ns, ticks.price, ticks.volume, ticks.aggressor)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [msgspec.msgpack.encode(_OnePrint(SYMBOL, *row)) for row in rows]


async def publish(settings: CommonSettings, values: Sequence[bytes], topic: str = topics.TICKS) -> None:
    """Put records on a topic of the namespace."""
    await patiently(lambda: create_topics(settings, topics.ALL_TOPICS))
    async with Publisher(settings) as publisher:
        for value in values:
            await publisher.send(topic, SYMBOL, value)
        await publisher.flush()


class _Watched:
    """The stage, telling when it was first called and what it has made."""

    def __init__(self, stage: BarsStage, ticks: int) -> None:
        self._stage = stage
        self._left = ticks
        self.started = 0.0
        self.cpu_s = 0.0
        self.bars = 0
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.freeze = stage.freeze
        self.restore = stage.restore

    def process(self, records: Sequence[Record]) -> Step:
        """Pass on."""
        if not self.started:
            self.started, self.cpu_s = time.perf_counter(), time.process_time()
        step = self._stage.process(records)
        if step.dead or step.halts:
            raise TapelabError(
                "the tape of the bench is wrong",
                expected="no dead letter and no halt",
                actual=str(step.dead or step.halts),
                remedy="report this",
            )
        self.bars += len(step.outputs)
        self._left -= len(records)
        if self._left <= 0:
            self._loop.call_soon_threadsafe(self.done.set)
        return step


async def through_the_host(settings: CommonSettings, records: int, spec: str = SPEC) -> Run:
    """Run the bars host over what :func:`publish` has put there; ``records`` of them.

    Raises:
        TapelabError: the bars do not arrive within five minutes.
    """
    instruments = load_instruments(settings.config_dir)
    pipeline = Pipeline(bars=(spec,), features=())
    stage = BarsStage(0, pipeline, instruments)
    stage.warm_up()
    watched = _Watched(stage, records)
    ctx = ServiceContext("bars", settings, {})
    garbage = Garbage(ctx.registry, ctx.log, ctx.clock)
    collecting, switching = gc.get_threshold(), sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    garbage.watch()
    garbage.settle()
    host = Host("bars", [topics.TICKS], [topics.BARS], lambda _: watched, ctx)
    work = asyncio.create_task(host.run())
    try:
        async with TopicReader(settings, [topics.BARS], start="earliest") as reader:
            async with asyncio.timeout(_LIMIT_S):
                waiting = asyncio.create_task(watched.done.wait())
                await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    work.result()
                while await reader.lag() < watched.bars:
                    if work.done():
                        work.result()
                    await asyncio.sleep(_POLL_S)
            ended, cpu_s = time.perf_counter(), time.process_time() - watched.cpu_s
    finally:
        ctx.stopping.set()
        await work
        garbage.release()
        gc.set_threshold(*collecting)
        sys.setswitchinterval(switching)
        gc.unfreeze()
    return Run(ended - watched.started, cpu_s, watched.bars)


async def _rows_of(kind: BrokerKind, rows: int, environments: Path | None, folder: Path) -> dict[str, Any]:
    """Ours and the peers by turns over the same prints, on one broker."""
    instruments = load_instruments("config")
    ticks = tape(instruments, PRINTS[rows])
    records = frames(ticks, rows)
    ours: list[Run] = []
    theirs: dict[str, list[peers.Peer]] = {peer: [] for peer in peers.PEERS}
    async with broker_of(kind, folder) as (_, _, reached):
        for turn in range(ROUNDS):
            settings = msgspec.structs.replace(
                CommonSettings(broker=reached["TAPELAB_BROKER"], broker_kind=kind), partitions=1, namespace=f"r{turn}"
            )
            await publish(settings, records)
            if rows == 1:
                await publish(settings, singles(ticks), topics.BOOK)
            ours.append(await through_the_host(settings, len(records)))
            say(f"topic to bars, {kind} broker, {rows} prints a record: {ticks.n / ours[-1].seconds / 1e6:.2f} M/s")
            for peer in peers.PEERS if environments is not None else ():
                if theirs[peer] and theirs[peer][-1].seconds is None:
                    continue  # it has said why
                found = await peers.run(
                    peer,
                    environments or Path(),
                    settings,
                    source=topics.BOOK if rows == 1 else topics.TICKS,
                    records=len(records),
                    kind="singles" if rows == 1 else "frames",
                    spec=SPEC,
                )
                theirs[peer].append(found)
                say(f"  {peer}: {ticks.n / found.seconds / 1e6:.2f} M/s" if found.seconds else f"  {found.reason}")
    seconds = statistics.median(run.seconds for run in ours)
    cpu = {"tapelab": ticks.n / statistics.median(run.cpu_s for run in ours) / 1e6}
    figures: dict[str, float | None] = dict.fromkeys(peers.PEERS)
    reasons = ["peers left out by --without-peers"] if environments is None else []
    for peer, runs in theirs.items():
        taken = [run for run in runs if run.seconds is not None]
        if taken:
            figures[peer] = ticks.n / statistics.median(run.seconds or 0.0 for run in taken) / 1e6
            cpu[peer] = ticks.n / statistics.median(run.cpu_s for run in taken) / 1e6
        reasons += [run.reason for run in runs if run.reason]
    per_cpu = ", ".join(f"{name} {rate:.2f}" for name, rate in cpu.items())
    what = (
        f"columnar records of {rows} prints; the peers decode, call the kernel and write each bar as we do"
        if rows > 1
        else "one record per print; the peers do open, high, low, close and volume in plain Python"
    )
    name = "topic_to_bars" if rows > 1 else "topic_to_bars_single"
    return {
        "work": name + ("_kafka" if kind == "kafka" else ""),
        "unit": "million prints/s",
        "higher_is_better": True,
        "tapelab": ticks.n / seconds / 1e6,
        "peers": figures,
        "floor": None,
        "note": "; ".join(
            [
                f"{kind} broker, {what}; {ticks.n:,} prints, {SPEC}, {ours[0].bars:,} bars, outputs acknowledged, "
                f"broker and client share the cores, median of {ROUNDS} by turns; million prints per second of "
                f"client CPU: {per_cpu}",
                *reasons,
            ]
        ),
    }


async def topic_to_bars(kinds: tuple[BrokerKind, ...], environments: Path | None, folder: Path) -> list[dict[str, Any]]:
    """Rows of all brokers and record formats; ``environments`` is where the peers live, None leaves them out."""
    return [
        await _rows_of(kind, rows, environments, folder / f"bars-{kind}-{rows}") for kind in kinds for rows in PRINTS
    ]
