"""``tapelab bench pipeline``: from topic to bars, and from tick to signal, on the embedded stack.

Client and broker share this machine. ``topic_to_bars`` reads columnar records of 512 prints; its peer reads
the same prints as one record each with the same client, in the same run. ``tick_to_signal_p99`` runs the
whole stack (every service a process of its own) on the simulated tape at about 1,000 prints/s.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from tapelab.bars.stage import BarsStage
from tapelab.cli.stack.backends import EmbeddedBroker
from tapelab.cli.stack.layout import Layout
from tapelab.common import topics
from tapelab.common.codec import encode
from tapelab.common.errors import TapelabError
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import Pipeline
from tapelab.common.runtime.kafka import create_topics, wait_for_broker
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.settings import CommonSettings
from tapelab.common.sources.detect import open_tape
from tapelab.quant.ticks import Ticks

PER_RECORD: Final = 512
COLUMNAR_TICKS: Final = 2_000_000
SINGLE_TICKS: Final = 100_000
SPEC: Final = "volume:1000"
SYMBOL: Final = "WINZ26"
SIGNALS: Final = 150


class _OnePrint(msgspec.Struct, array_like=True):
    """How most systems put a print on a topic: one record, one struct."""

    symbol: str
    ts_event_ns: int
    price: float
    volume: float
    aggressor: int


def run() -> dict[str, Any]:
    """Measure; the object that every ``tapelab bench`` prints."""
    with tempfile.TemporaryDirectory(prefix="tapelab-bench-") as folder:
        rows = asyncio.run(_topic_to_bars(Layout(Path(folder))))
    rows += _tick_to_signal()
    return {
        "bench": "pipeline",
        "machine": {
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "load_1m": os.getloadavg()[0],
        },
        "rows": rows,
    }


def _tape() -> Ticks:
    parts: list[Ticks] = []
    while sum(p.n for p in parts) < COLUMNAR_TICKS:
        seed = 7 + len(parts)
        tape = open_tape(f"seed={seed},symbols={SYMBOL}", format="simulator")
        parts.append(Ticks.concatenate([chunk.ticks for chunk in tape.chunks()]))
    # Several simulated spans, one after the other in time.
    shifted: list[Ticks] = []
    for index, part in enumerate(parts):
        shifted.append(part._replace(ts_event_ns=part.ts_event_ns + index * 28 * 86_400_000_000_000))
    return Ticks.concatenate(shifted).slice(0, COLUMNAR_TICKS)


async def _topic_to_bars(layout: Layout) -> list[dict[str, Any]]:
    layout.make()
    broker = EmbeddedBroker(layout)
    reached = await broker.start()
    settings = CommonSettings(broker=reached["TAPELAB_BROKER"], broker_kind="embedded", partitions=1)
    try:
        await wait_for_broker(settings)
        await create_topics(settings, topics.ALL_TOPICS)
        ticks = _tape()
        await _publish(settings, topics.TICKS, _columnar(ticks))
        await _publish(settings, topics.BOOK, _singles(ticks.slice(0, SINGLE_TICKS)))
        columnar = await _read(settings, topics.TICKS, COLUMNAR_TICKS // PER_RECORD, _bars_step())
        single = await _read(settings, topics.BOOK, SINGLE_TICKS, _loop_step())
    finally:
        await broker.stop()
    rate, peer = COLUMNAR_TICKS / columnar / 1e6, SINGLE_TICKS / single / 1e6
    note = (
        f"columnar records of {PER_RECORD} prints through the whole bars stage ({SPEC}: reader's rule, every field of "
        "Bar, trailing windows, output records built but not written); peer: one record per print, bare loop over "
        f"open, high, low, close and volume; aiokafka {version('aiokafka')}; broker and client share the cores"
    )
    return [
        {
            "work": "topic_to_bars",
            "unit": "million prints/s",
            "higher_is_better": True,
            "tapelab": rate,
            "peers": {"aiokafka": peer, "faust": None, "quix": None},
            "floor": None,
            "note": note + "; faust and quix: not run by this bench",
        }
    ]


def _columnar(ticks: Ticks) -> list[bytes]:
    return [
        encode(
            TickBatch.pack(
                ticks.slice(first, first + PER_RECORD),
                symbol=SYMBOL,
                exchange="B3",
                stream=1,
                lineage="bench",
                first_seq=first,
            )
        )
        for first in range(0, ticks.n - ticks.n % PER_RECORD, PER_RECORD)
    ]


def _singles(ticks: Ticks) -> list[bytes]:
    rows = zip(
        ticks.ts_event_ns.tolist(), ticks.price.tolist(), ticks.volume.tolist(), ticks.aggressor.tolist(), strict=True
    )
    return [msgspec.msgpack.encode(_OnePrint(SYMBOL, *row)) for row in rows]


async def _publish(settings: CommonSettings, topic: str, values: list[bytes]) -> None:
    async with Publisher(settings) as publisher:
        for value in values:
            await publisher.send(topic, SYMBOL, value)
        await publisher.flush()


async def _read(
    settings: CommonSettings, topic: str, expected: int, step: Callable[[list[Record]], Awaitable[None]]
) -> float:
    async with TopicReader(settings, [topic], start="earliest") as reader:
        seen = 0
        started = time.perf_counter()
        while seen < expected:
            records = await reader.poll(max_records=2000)
            await step(records)
            seen += len(records)
        return time.perf_counter() - started


def _bars_step() -> Callable[[list[Record]], Awaitable[None]]:
    config = Path("config")
    stage = BarsStage(0, Pipeline(bars=(SPEC,), features=()), load_instruments(config))
    stage.warm_up()

    async def step(records: list[Record]) -> None:
        found = stage.process(records)
        if found.dead or found.halts:
            raise TapelabError(
                "the tape of the bench is wrong",
                expected="no dead letter and no halt",
                actual=str(found.dead or found.halts),
                remedy="report this with the seed",
            )

    return step


def _loop_step() -> Callable[[list[Record]], Awaitable[None]]:
    decoder = msgspec.msgpack.Decoder(_OnePrint)
    bars: list[tuple[float, float, float, float, float]] = []
    bar: list[float] = []

    async def step(records: list[Record]) -> None:
        nonlocal bar
        for record in records:
            tick = decoder.decode(record.value or b"")
            if not bar:
                bar = [tick.price, tick.price, tick.price, tick.price, tick.volume]
            else:
                bar[1] = max(bar[1], tick.price)
                bar[2] = min(bar[2], tick.price)
                bar[3] = tick.price
                bar[4] += tick.volume
            if bar[4] >= 1000:
                bars.append((bar[0], bar[1], bar[2], bar[3], bar[4]))
                bar = []

    return step


def _tick_to_signal() -> list[dict[str, Any]]:
    """The whole stack at about 1,000 prints/s: 60 times the simulated tape's own clock."""
    with tempfile.TemporaryDirectory(prefix="tapelab-bench-") as folder:
        command = [sys.executable, "-m", "tapelab.cli.main", "up", "--exit-after-signals", str(SIGNALS), "--json"]
        done = subprocess.run(
            command, env={**os.environ, "TAPELAB_RUN_DIR": folder}, capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise TapelabError(
            "the stack could not be measured",
            expected="tapelab up to succeed",
            actual=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}",
            remedy="run 'tapelab up' and read its logs",
        )
    result = json.loads(done.stdout.splitlines()[-1])
    return [
        {
            "work": f"tick_to_signal_{name}",
            "unit": "ms",
            "higher_is_better": False,
            "tapelab": result["latency_ms"][name],
            "peers": {},
            "floor": None,
            "note": f"{result['signals']} signals at about 1,000 prints/s, micro-batch 150 ms; "
            "from ingest's publishing the last print to an engine's receipt",
        }
        for name in ("p50", "p95", "p99")
    ]
