"""Prints from ``ticks_raw``: wait for the tick sink, freeze the spans, read them by binary COPY, fail on holes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from tapelab.common.clock import Clock
from tapelab.common.errors import ConfigError, GapError, TapelabError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import Span
from tapelab.common.instruments import Instruments
from tapelab.common.sources.pg_binary import read_span
from tapelab.common.storage.streams import is_allocated, latest_stream, sink_marks
from tapelab.quant.ticks import Ticks
from tapelab.trainer.progress import Report
from tapelab.trainer.sources import SymbolTicks, wanted

#: What is known to have been published: the next sequence number per (symbol, stream).
Heads = Callable[[], Awaitable[dict[tuple[str, int], int]]]

_POLL_S: Final = 0.2
_TELL_NS: Final = 2_000_000_000
_ROWS_PER_COPY: Final = 500_000

# Sequence numbers of a span whose successor is not the next one: a hole, or a double.
_BREAK: Final = (
    "SELECT seq, after FROM (SELECT seq, lead(seq) OVER (ORDER BY seq) AS after FROM ticks_raw "
    "WHERE symbol = $1 AND stream = $2 AND seq BETWEEN $3 AND $4) AS neighbours WHERE after <> seq + 1 LIMIT 1"
)


class TicksRawSource:
    """The table that the tick sink fills.

    Args:
        heads: tells what has been published so far, so that freezing waits until the sink has all of it;
            without it, what the sink has is all there is.
    """

    def __init__(self, pool: asyncpg.Pool, clock: Clock, instruments: Instruments, heads: Heads | None = None) -> None:
        self._pool = pool
        self._clock = clock
        self._instruments = instruments
        self._heads = heads

    async def freeze(self, config: ExperimentConfig, report: Report) -> list[Span]:
        """All of each symbol's latest stream up to the cut, once the sink has what was published by now.

        Raises:
            ConfigError: no prints of a symbol.
            TapelabError: the sink did not get there in time.
        """
        marks = await sink_marks(self._pool)
        heads = await self._heads() if self._heads is not None else {}
        spans = []
        for symbol in wanted(config, [s for s, _ in (*marks, *heads)], self._instruments):
            # Stream numbers only grow, so the latest is the highest.
            stream = max(stream for s, stream in (*marks, *heads) if s == symbol)
            await self._wait(symbol, stream, heads.get((symbol, stream), 0), config.wait_s, report)
            spans.append(await self._freeze_one(symbol, stream, config.cut_ts_ns))
        return spans

    async def load(self, config: ExperimentConfig, spans: list[Span], report: Report) -> list[SymbolTicks]:
        """The prints of spans, once the sink has them.

        Raises:
            ConfigError: a span's stream was never allocated.
            GapError: a sequence number within a span is missing or double.
            SourceError: a span's end is missing, or rows are not the tick sink's.
            TapelabError: the sink did not get there in time.
        """
        marks = await sink_marks(self._pool)
        for span in spans:
            if (span.symbol, span.stream) not in marks:
                await self._check_allocated(span)
        total, done, loaded = sum(span.n for span in spans), 0, []
        for span in spans:
            await self._wait(span.symbol, span.stream, span.last_seq + 1, config.wait_s, report)
            await self._check_complete(span)
            chunks = []
            for first in range(span.first_seq, span.last_seq + 1, _ROWS_PER_COPY):
                last = min(first + _ROWS_PER_COPY - 1, span.last_seq)
                async with self._pool.acquire() as conn:
                    chunks.append(await read_span(conn, span.symbol, span.stream, first, last))
                done += last - first + 1
                await report("reading ticks_raw", 0.02 + 0.06 * done / total, {"prints": done, "of": total})
            ticks = await asyncio.to_thread(Ticks.concatenate, chunks)
            loaded.append(SymbolTicks(span, ticks, tape_ended=False))
        return loaded

    async def _freeze_one(self, symbol: str, stream: int, cut_ts_ns: int | None) -> Span:
        row = await self._pool.fetchrow(
            "SELECT min(seq) AS first, max(seq) AS last FROM ticks_raw WHERE symbol = $1 AND stream = $2",
            symbol,
            stream,
        )
        first, last = row["first"], row["last"]
        if first is not None and cut_ts_ns is not None:
            later = await self._pool.fetchval(
                "SELECT min(seq) FROM ticks_raw WHERE symbol = $1 AND stream = $2 AND ts_event_ns >= $3",
                symbol,
                stream,
                cut_ts_ns,
            )
            last = last if later is None else later - 1
        if first is None or last < first:
            raise ConfigError(
                f"no prints of {symbol} to train on",
                expected=f"rows of stream {stream} in ticks_raw"
                + (f" before event time {cut_ts_ns}" if cut_ts_ns is not None else ""),
                actual="none",
                remedy="play a tape, or move cut_ts_ns",
            )
        return Span(symbol=symbol, stream=stream, first_seq=first, last_seq=last)

    async def _wait(self, symbol: str, stream: int, next_seq: int, wait_s: float, report: Report) -> None:
        """Until the sink has everything before ``next_seq``."""
        deadline_ns = self._clock.monotonic_ns() + int(wait_s * 1e9)
        told, told_ns = -1, self._clock.monotonic_ns()
        while True:
            mark = (await sink_marks(self._pool)).get((symbol, stream), 0)
            if mark >= next_seq:
                return
            if self._clock.monotonic_ns() > deadline_ns:
                raise TapelabError(
                    f"the tick sink does not have the prints of {symbol}",
                    expected=f"stream {stream} written up to seq {next_seq - 1} within {wait_s:g} s",
                    actual=f"written up to seq {mark - 1}",
                    remedy="check that the sink runs and keeps up, or raise wait_s",
                )
            # Each report is kept for good, so they come when something moved, and now and then to hear of a stop.
            if mark != told or self._clock.monotonic_ns() - told_ns >= _TELL_NS:
                told, told_ns = mark, self._clock.monotonic_ns()
                await report(
                    "waiting for the tick sink", 0.01, {"symbol": symbol, "written": mark, "expected": next_seq}
                )
            await self._clock.sleep(_POLL_S)

    async def _check_allocated(self, span: Span) -> None:
        """Nothing will ever come of a stream that no source has begun, so there is nothing to wait for."""
        if await is_allocated(self._pool, span.symbol, span.stream):
            return
        latest = await latest_stream(self._pool, span.symbol)
        raise ConfigError(
            f"{span.symbol} has no stream {span.stream}",
            expected="a stream that a source has begun",
            actual=f"none of that number; the latest is {'none' if latest is None else latest}",
            remedy="correct the span, or leave spans out to train on the latest stream",
        )

    async def _check_complete(self, span: Span) -> None:
        """No sequence number within the span is left out or there twice; its ends are checked by reading it."""
        found = await self._pool.fetchrow(_BREAK, span.symbol, span.stream, span.first_seq, span.last_seq)
        if found is None:
            return
        seq, after = found["seq"], found["after"]
        raise GapError(
            f"ticks_raw has {'a double' if after == seq else 'a hole'} in {span.symbol}, stream {span.stream}",
            expected=f"every seq from {span.first_seq} to {span.last_seq} once",
            actual=f"seq {seq} twice" if after == seq else f"seq {seq + 1} to {after - 1} missing",
            remedy="find out what the tick sink lost, or name spans that leave it out",
        )
