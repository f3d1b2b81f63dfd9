"""Prints from the table that the tick sink fills."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapelab.common.clock import ManualClock
from tapelab.common.errors import ConfigError, GapError, TapelabError
from tapelab.common.experiments.parts import Span
from tapelab.common.sources.pg_binary import COLUMNS, HEADER, TRAILER, encode_rows
from tapelab.common.storage.streams import advance_mark, allocate_stream
from tapelab.quant.ticks import Ticks
from tapelab.trainer.ticks_raw import TicksRawSource
from tests.services.trainer.data import config, instruments, tape

SYMBOL = "WINZ26"
REPORTS: list[tuple[str, dict[str, Any]]] = []


async def note(stage: str, fraction: float, data: dict[str, Any]) -> None:
    REPORTS.append((stage, data))


async def write(pool: Any, ticks: Ticks, *, stream: int, first_seq: int = 0, symbol: str = SYMBOL) -> None:
    """As the sink does: rows by binary COPY, and the mark."""

    async def parts() -> Any:
        yield HEADER + encode_rows(ticks, symbol=symbol, exchange="B3", stream=stream, first_seq=first_seq) + TRAILER

    async with pool.acquire() as conn, conn.transaction():
        await conn.copy_to_table("ticks_raw", source=parts(), columns=COLUMNS, format="binary")
        await advance_mark(conn, symbol, stream, "l", first_seq + ticks.n)


def source(
    pool: Any, heads: dict[tuple[str, int], int] | None = None, clock: ManualClock | None = None
) -> TicksRawSource:
    async def told() -> dict[tuple[str, int], int]:
        return heads or {}

    return TicksRawSource(pool, clock or ManualClock(), instruments(), told if heads is not None else None)


def raw(**changes: Any) -> Any:
    return config(source={"kind": "ticks_raw"}, **changes)


async def test_a_span_comes_back_to_the_bit(pool) -> None:
    ticks = tape()[SYMBOL].slice(0, 3_000)
    await write(pool, ticks.slice(0, 1_200), stream=4)
    await write(pool, ticks.slice(1_200), stream=4, first_seq=1_200)
    (span,) = spans = await source(pool).freeze(raw(), note)
    assert span == Span(symbol=SYMBOL, stream=4, first_seq=0, last_seq=2_999)
    (item,) = await source(pool).load(raw(), spans, note)
    assert all(np.array_equal(got, want) for got, want in zip(item.ticks, ticks, strict=True))
    assert [column.dtype for column in item.ticks] == [column.dtype for column in ticks]
    assert not item.tape_ended


async def test_the_latest_stream_is_taken_up_to_the_cut(pool) -> None:
    ticks = tape()[SYMBOL].slice(0, 500)
    await write(pool, ticks, stream=4)
    await write(pool, ticks, stream=7)
    cut = int(ticks.ts_event_ns[200])
    (span,) = await source(pool).freeze(raw(cut_ts_ns=cut), note)
    assert span.stream == 7
    assert span.last_seq == int(np.argmax(ticks.ts_event_ns >= cut)) - 1
    with pytest.raises(ConfigError, match="no prints of WINZ26 to train on"):
        await source(pool).freeze(raw(cut_ts_ns=1), note)


async def test_freezing_waits_until_the_sink_has_what_was_published(pool) -> None:
    ticks = tape()[SYMBOL].slice(0, 400)
    await write(pool, ticks.slice(0, 100), stream=1)

    class Writing(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if self.now_ns() - started_ns > 500_000_000 and not written:
                written.append(True)
                await write(pool, ticks.slice(100), stream=1, first_seq=100)

    REPORTS.clear()
    written: list[bool] = []
    started_ns = ManualClock().now_ns()
    (span,) = await source(pool, {(SYMBOL, 1): 400}, Writing()).freeze(raw(), note)
    assert span.last_seq == 399
    assert REPORTS == [("waiting for the tick sink", {"symbol": SYMBOL, "written": 100, "expected": 400})]


async def test_a_sink_that_does_not_get_there_is_an_error_that_names_both_marks(pool) -> None:
    await write(pool, tape()[SYMBOL].slice(0, 100), stream=1)
    with pytest.raises(TapelabError, match=r"up to seq 399 within 3 s, got written up to seq 99; check that the sink"):
        await source(pool, {(SYMBOL, 1): 400}).freeze(raw(wait_s=3), note)
    spans = [Span(symbol=SYMBOL, stream=1, first_seq=50, last_seq=100)]
    with pytest.raises(TapelabError, match="written up to seq 100 within"):
        await source(pool).load(raw(wait_s=1), spans, note)


async def test_a_hole_and_a_double_are_named(pool) -> None:
    ticks = tape()[SYMBOL].slice(0, 300)
    await write(pool, ticks.slice(0, 100), stream=1)
    await write(pool, ticks.slice(110), stream=1, first_seq=110)
    spans = await source(pool).freeze(raw(), note)
    with pytest.raises(GapError, match=r"a hole in WINZ26, stream 1.* got seq 100 to 109 missing"):
        await source(pool).load(raw(), spans, note)
    whole = [Span(symbol=SYMBOL, stream=1, first_seq=110, last_seq=299)]
    assert (await source(pool).load(raw(), whole, note))[0].ticks.n == 190
    await write(pool, ticks.slice(150, 151), stream=1, first_seq=150)
    with pytest.raises(GapError, match="seq 150 twice"):
        await source(pool).load(raw(), whole, note)


async def test_roots_choose_among_the_symbols_of_the_table(pool) -> None:
    for symbol, ticks in tape().items():
        await write(pool, ticks.slice(0, 50), stream=1, symbol=symbol)
    spans = await source(pool).freeze(raw(roots=["WDO", "WIN"]), note)
    assert [span.symbol for span in spans] == ["WDOZ26", "WINZ26"]
    with pytest.raises(ConfigError, match="got prints of BOVA11, WDOZ26, WINZ26"):
        await source(pool).freeze(raw(symbols=["PETR4"]), note)


async def test_a_stream_that_was_never_allocated_fails_at_once(pool) -> None:
    clock = ManualClock()
    latest = await allocate_stream(pool, SYMBOL, "simulator", "l")
    await allocate_stream(pool, "WDOZ26", "simulator", "l")
    started_ns = clock.monotonic_ns()
    for stream in (latest + 1, latest + 100):
        spans = [Span(symbol=SYMBOL, stream=stream, first_seq=0, last_seq=9)]
        with pytest.raises(ConfigError, match=f"WINZ26 has no stream {stream}.*the latest is {latest}"):
            await source(pool, clock=clock).load(raw(wait_s=600), spans, note)
    assert clock.monotonic_ns() == started_ns
    spans = [Span(symbol=SYMBOL, stream=latest, first_seq=0, last_seq=9)]
    with pytest.raises(TapelabError, match="the tick sink does not have the prints"):
        await source(pool, clock=clock).load(raw(wait_s=2), spans, note)
