"""Prints from the ticks topic, and what has been published on it so far."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from tapelab.common import topics
from tapelab.common.codec import identity, seq_range
from tapelab.common.errors import ConfigError, GapError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import Span
from tapelab.common.instruments import Instruments
from tapelab.common.runtime.outage import Outage
from tapelab.common.runtime.reader import read_topic
from tapelab.common.runtime.sequence import Sequencer, Verdict
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import CommonSettings
from tapelab.quant.ticks import Ticks
from tapelab.trainer.progress import Report
from tapelab.trainer.records import decoded
from tapelab.trainer.sources import SymbolTicks, rows_before_cut, wanted

#: Records per partition that are looked at for what was published last; every symbol that is still
#: waiting in the tick sink is among them.
_TAIL: Final = 2_000


async def published_heads(settings: CommonSettings, outage: Outage | None = None) -> dict[tuple[str, int], int]:
    """The next sequence number per (symbol, stream) among the newest records of the ticks topic."""
    heads: dict[tuple[str, int], int] = {}
    records = await read_topic(settings, topics.TICKS, outage, tail=_TAIL)
    for _, batch in await asyncio.to_thread(lambda: list(decoded(records))):
        key = batch.symbol, batch.stream
        heads[key] = max(heads.get(key, 0), batch.first_seq + batch.n)
    return heads


class TopicSource:
    """The ticks topic as it stands, within its retention."""

    def __init__(self, settings: CommonSettings, instruments: Instruments, outage: Outage | None = None) -> None:
        self._settings = settings
        self._outage = outage
        self._instruments = instruments

    async def freeze(self, config: ExperimentConfig, report: Report) -> list[Span]:
        """All of each symbol's latest stream up to the cut.

        Raises:
            ConfigError: no prints of a symbol before the cut.
        """
        await report("reading the ticks topic", 0.01, {})
        tape = await self._read()
        spans = []
        for symbol in wanted(config, [s for s, _ in tape], self._instruments):
            stream = max(number for s, number in tape if s == symbol)
            first_seq, ticks = tape[symbol, stream]
            n = rows_before_cut(ticks, config.cut_ts_ns)
            if n == 0:
                raise ConfigError(
                    f"no prints of {symbol} to train on",
                    expected=f"prints of stream {stream} on the ticks topic before event time {config.cut_ts_ns}",
                    actual="none",
                    remedy="play a tape, or move cut_ts_ns",
                )
            spans.append(Span(symbol=symbol, stream=stream, first_seq=first_seq, last_seq=first_seq + n - 1))
        return spans

    async def load(self, config: ExperimentConfig, spans: list[Span], report: Report) -> list[SymbolTicks]:
        """The prints of spans.

        Raises:
            GapError: the topic no longer, or not yet, holds them all.
        """
        await report("reading the ticks topic", 0.02, {})
        tape = await self._read()
        loaded = []
        for span in spans:
            first_seq, ticks = tape.get((span.symbol, span.stream), (0, Ticks.empty()))
            if span.first_seq < first_seq or span.last_seq >= first_seq + ticks.n:
                raise GapError(
                    f"the ticks topic does not hold the span of {span.symbol}, stream {span.stream}",
                    expected=f"seq {span.first_seq} to {span.last_seq}",
                    actual=f"seq {first_seq} to {first_seq + ticks.n - 1}" if ticks.n else "nothing",
                    remedy="name a span within the topic's retention, or train from ticks_raw",
                )
            part = ticks.slice(span.first_seq - first_seq, span.last_seq + 1 - first_seq)
            loaded.append(SymbolTicks(span, part, tape_ended=False))
        return loaded

    async def _read(self) -> dict[tuple[str, int], tuple[int, Ticks]]:
        records = await read_topic(self._settings, topics.TICKS, self._outage)
        return await asyncio.to_thread(assemble, records)


def assemble(records: Sequence[Record]) -> dict[tuple[str, int], tuple[int, Ticks]]:
    """Streams of prints by (symbol, stream): the first sequence number, and the columns without doubles.

    Raises:
        GapError: records of a stream are missing.
    """
    sequencers: dict[int, Sequencer] = {}
    first: dict[tuple[str, int], int] = {}
    chunks: dict[tuple[str, int], list[Ticks]] = {}
    for record, batch in decoded(records):
        start, stop = seq_range(batch)
        if start == stop:
            continue  # a marker of a session's end holds no print
        sequencer = sequencers.setdefault(record.partition, Sequencer(topics.TICKS))
        admission = sequencer.admit(identity(batch), start, stop, partition=record.partition, offset=record.offset)
        if admission.verdict is Verdict.HALT:
            raise GapError(
                f"the ticks topic has a hole in {batch.symbol}, stream {batch.stream}",
                expected="every sequence number once",
                actual=admission.message,
                remedy="name spans that leave it out, or train from ticks_raw",
            )
        if admission.verdict is Verdict.DROP:
            continue
        key = batch.symbol, batch.stream
        first.setdefault(key, start)
        chunks.setdefault(key, []).append(batch.ticks().slice(admission.skip))
    return {key: (first[key], Ticks.concatenate(parts)) for key, parts in chunks.items()}
