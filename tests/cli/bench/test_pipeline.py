"""``tapelab bench pipeline`` measures real brokers and processes and prints rows that scripts read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapelab.cli.bench.pipeline import latency, memory, peers, recovery, topic_to_bars
from tapelab.cli.bench.pipeline.drive import broker_of
from tapelab.cli.bench.pipeline.figure import draw
from tapelab.cli.bench.pipeline.tape import opening_ns, prints, symbols
from tapelab.common import topics
from tapelab.common.instruments import load_instruments
from tapelab.common.settings import CommonSettings
from tapelab.quant.bars.rules import eligible


@pytest.fixture
def at_home(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)


@pytest.mark.usefixtures("at_home")
def test_the_tape_has_the_rate_asked_for_and_every_print_counts() -> None:
    instruments = load_instruments("config")
    names = symbols(50)
    assert len(set(names)) == 50
    for name in names:
        assert instruments.of(name).root == "WIN"
    first = opening_ns(instruments, names[0])
    tape = prints(1000, seed=1, first_ns=first, step_ns=1_000_000)
    assert tape.ts_event_ns[0] == first
    assert set(np.diff(tape.ts_event_ns).tolist()) == {1_000_000}
    assert eligible(tape, instruments.calendar(names[0]), instruments.of(names[0]).bar_trade_types).all()
    assert opening_ns(instruments, names[0], 1) > first


def test_the_figure_shows_each_hop_of_the_median_and_of_the_slowest() -> None:
    random = np.random.default_rng(1)
    hops = random.random((500, 4)) * np.array([10.0, 10.0, 150.0, 5.0])
    found = latency.Latency(hops.sum(axis=1), hops, 1.0)
    picture = draw({"embedded 10k": found})
    assert picture.count("<rect") == 1 + 4 + 2 * 4
    assert "embedded 10k p50" in picture
    assert "inference to engine" in picture


def test_rows_say_percentiles_and_hops_under_their_names() -> None:
    hops = np.array([[1.0, 2.0, 100.0, 3.0]] * 10)
    found = latency.Latency(hops.sum(axis=1), hops, 1.0)
    names = {kind: [row["work"] for row in latency.rows_of(found, kind, "1k", 1000)] for kind in ("embedded", "kafka")}
    assert names["embedded"] == ["tick_to_signal_p50", "tick_to_signal_p95", "tick_to_signal_p99"]
    assert names["kafka"][2] == "tick_to_signal_p99_kafka_1k"
    rows = latency.rows_of(found, "embedded", "10k", 10_000)
    assert [row["work"] for row in rows][2] == "tick_to_signal_p99_10k"
    assert rows[0]["tapelab"] == 106.0
    assert "features to inference 100/100" in rows[0]["note"]


def test_memory_says_what_grows() -> None:
    samples = [{"bars": 100.0 + 50.0 * at, "api": 80.0, "broker": 10.0} for at in range(4)]
    found = memory.Memory([1000, 2000, 3000, 4000], samples, {"md.ticks.v1": (160_000, 40)})
    rows = {row["work"]: row for row in memory.rows_of(found, "embedded")}
    assert rows["memory_services"]["tapelab"] == 330
    assert "md.ticks.v1 40.0" in rows["memory_services"]["note"]
    assert rows["memory_bars"]["note"].endswith("grows")
    assert rows["memory_api"]["note"].endswith("flat")


def test_an_unknown_part_is_refused_with_the_parts_there_are(command: Any) -> None:
    done = command("bench", "pipeline", "--only", "speed", "--json")
    assert done.code != 0
    assert "--only names what is not there: expected some of latency" in done.err


@pytest.mark.stack
def test_topic_to_bars_gives_rows_and_says_why_there_are_no_peers(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_to_bars, "PRINTS", {512: 40_000, 1: 2_000})
    monkeypatch.setattr(topic_to_bars, "ROUNDS", 1)
    done = command("bench", "pipeline", "--only", "topic_to_bars", "--broker", "embedded", "--without-peers", "--json")
    rows = json.loads(done.out)["rows"]
    assert [row["work"] for row in rows] == ["topic_to_bars", "topic_to_bars_single"]
    for row in rows:
        assert row["tapelab"] > 0
        assert row["peers"] == {"aiokafka": None, "faust": None, "quix": None}
        assert "peers left out by --without-peers" in row["note"]


@pytest.mark.stack
@pytest.mark.usefixtures("at_home")
async def test_a_peer_writes_as_many_bars_as_we_do_and_one_that_is_missing_says_so(tmp_path: Path) -> None:
    ticks = topic_to_bars.tape(load_instruments("config"), 20_000)
    records = topic_to_bars.frames(ticks, 512)
    async with broker_of("embedded", tmp_path) as (_, _, reached):
        settings = CommonSettings(broker=reached["TAPELAB_BROKER"], broker_kind="embedded", partitions=1, namespace="a")
        await topic_to_bars.publish(settings, records)
        asked = {"source": topics.TICKS, "records": len(records), "kind": "frames", "spec": topic_to_bars.SPEC}
        plain = await peers.run("aiokafka", tmp_path, settings, **asked)
        missing = await peers.run("faust", tmp_path, settings, **asked)
        settings = CommonSettings(broker=reached["TAPELAB_BROKER"], broker_kind="embedded", partitions=1, namespace="b")
        await topic_to_bars.publish(settings, records)
        ours = await topic_to_bars.through_the_host(settings, len(records))
    assert plain.seconds is not None
    assert plain.outputs == ours.bars > 0
    assert missing.seconds is None
    assert missing.reason.startswith("faust is not installed below")


@pytest.mark.stack
@pytest.mark.usefixtures("at_home")
async def test_latency_is_measured_on_the_services_and_its_hops_add_up(tmp_path: Path) -> None:
    found = await latency.measure("embedded", 2_000, 4.0, tmp_path, run_in_s=1.0)
    assert len(found.total) > 5
    assert np.allclose(found.hops.sum(axis=1), found.total)
    assert (found.total > 0).all()


@pytest.mark.stack
@pytest.mark.usefixtures("at_home")
async def test_a_killed_stage_is_timed_until_it_gives_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "CHAIN", ("bars",))
    found = await recovery.measure("embedded", tmp_path, behind=8_000, between_s=1.0)
    assert 0 < found["bars"] < recovery.LIMIT_S


@pytest.mark.stack
@pytest.mark.usefixtures("at_home")
async def test_memory_is_sampled_at_each_quarter_with_the_bytes_of_each_topic(tmp_path: Path) -> None:
    found = await memory.measure("embedded", tmp_path, total=8_000, count=4, services=("bars",))
    assert found.prints == [2_000, 4_000, 6_000, 8_000]
    assert [set(sample) for sample in found.resident_mb] == [{"bars", "broker"}] * 4
    size, records = found.topic_bytes[topics.TICKS]
    assert records >= 16
    assert size > 8_000 * 40


def test_seconds_wait_for_every_partition_with_symbols() -> None:
    held = {topics.partition_of(symbol, 4) for symbol in symbols(recovery.SYMBOLS)}
    assert held == {0, 1, 2, 3}, "recovery times every partition"
    assert asyncio.iscoroutinefunction(recovery.seconds_after_kill)
