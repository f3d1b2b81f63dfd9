"""The README's other ways to run the main job: a real tape, a followed table, Apache Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tapelab.common.sources.detect import open_tape
from tapelab.common.sources.nelogica_writer import write_nelogica
from tests.e2e.stack import Running
from tests.fixtures_kafka import need_kafka

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture
def started(repository: Path, tmp_path: Path) -> Iterator[Any]:
    runs: list[Running] = []

    def start(**variables: str) -> Running:
        runs.append(Running(repository, tmp_path / "run", **variables))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


def finished(run: Running) -> dict[str, Any]:
    code = run.process.wait(400)
    assert code == 0, run.progress[-3000:]
    result: dict[str, Any] = json.loads(run.output.splitlines()[-1])
    assert (result["lost"], result["doubled"]) == (0, 0), run.progress[-3000:]
    return result


def test_a_winfut_file_newest_first_with_one_second_times(started: Any, tmp_path: Path) -> None:
    tape = tmp_path / "WINFUT.csv"
    rows = write_nelogica(
        tape, open_tape("seed=5,days=4,hours=1,symbols=WINZ26", format="simulator"), newest_first=True
    )
    with tape.open("a") as file:
        file.write("WINZ26,20261104,10000,1,no price,1,1,A,B,AggressorBuyer,0\n")
    run = started(TAPE=str(tape), FORMAT="nelogica", SPEED="max", EXIT_AFTER_SIGNALS="3")
    result = finished(run)
    assert 0 < result["ticks"] <= rows
    rejects = (run.folder / "rejects.csv").read_text()
    assert "WINFUT.csv" in rejects
    assert "no price" in rejects or "price" in rejects


def rows_of(options: str) -> list[tuple[Any, ...]]:
    """A simulated tape as a collector would insert it: in the order of time, over all symbols."""
    rows = [
        (
            chunk.symbol,
            float(t.price[i]),
            float(t.volume[i]),
            datetime.fromtimestamp(int(t.ts_event_ns[i]) // 1000 / 1e6, UTC),
            int(t.buy_agent[i]),
            int(t.sell_agent[i]),
            chunk.exchange,
            int(t.trade_type[i]),
        )
        for chunk in open_tape(options, format="simulator").chunks()
        for t in (chunk.ticks,)
        for i in range(t.n)
    ]
    return sorted(rows, key=lambda row: row[3])


def test_a_table_that_a_collector_fills_is_followed(started: Any, empty_database: str) -> None:
    rows = rows_of("seed=5,days=4,hours=1,symbols=WINZ26+WDOZ26")
    cut = len(rows) * 4 // 5

    async def follow() -> dict[str, Any]:
        table = await asyncpg.connect(empty_database)
        try:
            await table.execute(
                'CREATE TABLE ticks_raw (symbol text, price float8, volume float8, "timestamp" timestamptz, '
                "buy_agent int, sell_agent int, exchange text, trade_type smallint)"
            )
            await table.copy_records_to_table("ticks_raw", records=rows[:cut])
            run = started(SOURCE="ticks_raw", DSN=empty_database, EXIT_AFTER_SIGNALS="3")
            sent = cut
            while run.process.poll() is None and sent < len(rows):
                await asyncio.sleep(0.1)
                released = "signals flow" in run.progress
                if released:
                    await table.copy_records_to_table("ticks_raw", records=rows[sent : sent + 100])
                    sent += 100
            return await asyncio.to_thread(finished, run)
        finally:
            await table.close()

    result = asyncio.run(follow())
    assert result["ticks"] > cut


def test_on_apache_kafka_a_killed_service_loses_and_doubles_nothing(started: Any) -> None:
    need_kafka()
    run = started(BROKER="kafka", EXIT_AFTER_SIGNALS="60")
    run.until("signals", lambda: run.signals() >= 5, 300)
    for module in ("tapelab.bars", "tapelab.features", "tapelab.inference"):
        run.kill(module)
    assert finished(run)["signals"] >= 60
