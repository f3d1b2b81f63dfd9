"""Bars and features of the live way equal the offline ones bit for bit.

The same stages that the services run are fed a tape cut into records at random, with batches sent twice,
overlapping ones and a restart from a snapshot in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tapelab.bars.stage import BarsStage
from tapelab.cli.up.collected import sort_out
from tapelab.cli.up.verify import Difference, compare, expected_records
from tapelab.common import topics
from tapelab.common.instruments import Instruments, load_instruments
from tapelab.common.pipeline import Pipeline, load_pipeline
from tapelab.common.runtime.memory import MemoryHost, MemoryLog
from tapelab.common.runtime.stage import Stage
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.sources.detect import open_tape
from tapelab.features.stage import FeaturesStage
from tapelab.quant.ticks import Ticks

STREAM = 3


@pytest.fixture(scope="module")
def pipeline(repository: Path) -> Pipeline:
    return load_pipeline(repository / "config")


@pytest.fixture(scope="module")
def instruments(repository: Path) -> Instruments:
    return load_instruments(repository / "config")


def tapes(tape: object, most: int) -> dict[tuple[str, str], Ticks]:
    parts: dict[tuple[str, str], list[Ticks]] = {}
    seen = 0
    for chunk in tape.chunks():  # type: ignore[attr-defined]
        parts.setdefault((chunk.symbol, chunk.exchange), []).append(chunk.ticks)
        seen += chunk.ticks.n
        if seen >= most:
            break
    return {who: Ticks.concatenate(chunks) for who, chunks in parts.items()}


def batches(symbol: str, exchange: str, lineage: str, ticks: Ticks, rng: np.random.Generator) -> Iterator[TickBatch]:
    """The tape as records of 1 to 900 prints; some are sent twice, some overlap the one before."""
    start = 0
    while start < ticks.n:
        stop = min(ticks.n, start + int(rng.integers(1, 900)))
        first = max(0, start - int(rng.integers(0, 50))) if rng.random() < 0.1 else start
        batch = TickBatch.pack(
            ticks.slice(first, stop),
            symbol=symbol,
            exchange=exchange,
            stream=STREAM,
            lineage=lineage,
            first_seq=first,
        )
        yield batch
        if rng.random() < 0.05:
            yield batch
        start = stop


def restarted(host: MemoryHost, fresh: dict[int, Stage]) -> None:
    """Every partition goes on in a new stage, from a snapshot."""
    for partition, stage in host.stages.items():
        fresh[partition].restore(stage.freeze()())
    host.stages = fresh


def assert_live_equals_offline(
    found: dict[tuple[str, str], Ticks], lineage: str, seed: int, pipeline: Pipeline, instruments: Instruments
) -> None:
    rng = np.random.default_rng(seed)
    log = MemoryLog()

    def bars_stage(partition: int) -> BarsStage:
        return BarsStage(partition, pipeline, instruments)

    def features_stage(partition: int) -> FeaturesStage:
        return FeaturesStage(partition, pipeline, instruments)

    hosts = [
        MemoryHost(log, topics.TICKS, bars_stage, max_records=7),
        MemoryHost(log, topics.BARS, features_stage, max_records=11),
    ]
    for (symbol, exchange), ticks in found.items():
        sent = list(batches(symbol, exchange, lineage, ticks, rng))
        restart_at = int(rng.integers(0, len(sent)))
        for index, batch in enumerate(sent):
            log.publish(topics.TICKS, batch)
            if index == restart_at:
                for host, factory in zip(hosts, (bars_stage, features_stage), strict=True):
                    host.run()
                    restarted(host, {p: factory(p) for p in range(log.partitions)})
    for host in hosts:
        host.run()
        assert not host.halts
        assert not host.dead
    got = sort_out([*log.all(topics.BARS), *log.all(topics.FEATURES)])
    total = {topics.BARS: Difference(), topics.FEATURES: Difference()}
    for (symbol, exchange), ticks in found.items():
        bars, vectors = expected_records(
            symbol, exchange, STREAM, lineage, ticks, tape_ended=False, pipeline=pipeline, instruments=instruments
        )
        for topic, expected in ((topics.BARS, bars), (topics.FEATURES, vectors)):
            for identity, values in expected.items():
                total[topic] = total[topic].plus(compare(identity, values, got.sequences[topic].get(identity)))
    for topic, difference in total.items():
        assert difference.expected > 0, topic
        assert difference == Difference(expected=difference.expected), topic


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_the_simulator(seed: int, pipeline: Pipeline, instruments: Instruments) -> None:
    tape = open_tape(f"seed={seed},days=2,hours=0.4", format="simulator")
    assert_live_equals_offline(tapes(tape, 10**9), tape.lineage, seed, pipeline, instruments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "most"),
    [
        ("lean_us_ticks/ibm", 130_000),
        ("lean_us_ticks/spy", 300_000),
        ("binance_trades_nexousdt_csv", 20_000),
    ],
)
def test_on_real_tapes(folder: str, most: int, shared_data: Path, pipeline: Pipeline, instruments: Instruments) -> None:
    tape = open_tape(shared_data / folder)
    assert_live_equals_offline(tapes(tape, most), tape.lineage, 11, pipeline, instruments)
