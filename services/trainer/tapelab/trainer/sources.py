"""Where prints come from: what every source offers, and the one that reads a file."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

import numpy as np

from tapelab.common.errors import ConfigError, SourceError
from tapelab.common.experiments.config import ExperimentConfig
from tapelab.common.experiments.parts import Span
from tapelab.common.instruments import Instruments
from tapelab.common.sources.detect import open_tape
from tapelab.quant.ticks import Ticks
from tapelab.trainer.files import AllowedFiles
from tapelab.trainer.progress import Report


class SymbolTicks(NamedTuple):
    """One span's prints, complete and in order; ``tape_ended`` says that its last session is over."""

    span: Span
    ticks: Ticks
    tape_ended: bool


class TickSource(Protocol):
    """Prints of spans. Two loads of the same spans give the same prints."""

    async def freeze(self, config: ExperimentConfig, report: Report) -> list[Span]:
        """The experiment's spans, fixed from now on, in the order of their symbols.

        Raises:
            TapelabError: there is nothing to train on, or it does not arrive in time.
        """
        ...

    async def load(self, config: ExperimentConfig, spans: list[Span], report: Report) -> list[SymbolTicks]:
        """The prints of frozen spans.

        Raises:
            GapError: a print is missing.
        """
        ...


def wanted(config: ExperimentConfig, found: list[str], instruments: Instruments) -> list[str]:
    """Which of the symbols a source holds the experiment trains on, sorted.

    Raises:
        ConfigError: a symbol that was asked for is not there, or none is.
    """
    chosen = sorted(set(found))
    if config.roots:
        chosen = [symbol for symbol in chosen if instruments.of(symbol).root in config.roots]
    elif config.symbols:
        chosen = [symbol for symbol in chosen if symbol in config.symbols]
    missing = sorted(set(config.symbols) - set(chosen))
    if missing or not chosen:
        raise ConfigError(
            "the source does not hold what the experiment trains on",
            expected=", ".join(config.symbols or config.roots) or "prints of at least one symbol",
            actual=f"prints of {', '.join(sorted(set(found))) or 'nothing'}",
            remedy="correct symbols or roots, or play a tape with them",
        )
    return chosen


def rows_before_cut(ticks: Ticks, cut_ts_ns: int | None) -> int:
    """How many leading prints lie before the first one at or after the cut."""
    if cut_ts_ns is None:
        return ticks.n
    later = np.flatnonzero(ticks.ts_event_ns >= cut_ts_ns)
    return int(later[0]) if len(later) else ticks.n


class FileSource:
    """A tape file or the simulator; each symbol is stream 0 of itself, its prints counted from 0.

    Args:
        files: the files that may be read; without it, all.
    """

    def __init__(self, instruments: Instruments, files: AllowedFiles | None = None) -> None:
        self._instruments = instruments
        self._files = files
        self._tape: dict[str, Ticks] = {}

    async def freeze(self, config: ExperimentConfig, report: Report) -> list[Span]:
        """All prints of the wanted symbols up to the cut.

        Raises:
            ConfigError: the file may not be read.
            SourceError: the tape cannot be read, or holds nothing before the cut.
        """
        await report("reading the tape", 0.01, {"path": config.source.path, "format": config.source.format})
        self._tape = await asyncio.to_thread(_read, config, self._files)
        spans = []
        for symbol in wanted(config, list(self._tape), self._instruments):
            n = rows_before_cut(self._tape[symbol], config.cut_ts_ns)
            if n == 0:
                raise SourceError(
                    f"no print of {symbol} before the cut",
                    expected=f"prints before event time {config.cut_ts_ns}",
                    actual=f"the first at {int(self._tape[symbol].ts_event_ns[0])}",
                    remedy="move cut_ts_ns",
                )
            spans.append(Span(symbol=symbol, stream=0, first_seq=0, last_seq=n - 1))
        return spans

    async def load(self, config: ExperimentConfig, spans: list[Span], report: Report) -> list[SymbolTicks]:
        """The prints; the tape's last session counts as over where nothing was cut off."""
        if not self._tape:
            self._tape = await asyncio.to_thread(_read, config, self._files)
        loaded = []
        for span in spans:
            whole = self._tape[span.symbol]
            ticks = whole.slice(span.first_seq, span.last_seq + 1)
            loaded.append(SymbolTicks(span, ticks, tape_ended=ticks.n == whole.n))
        self._tape = {}
        return loaded


def _read(config: ExperimentConfig, files: AllowedFiles | None = None) -> dict[str, Ticks]:
    only = frozenset(config.symbols) if config.symbols else None
    source = config.source
    # The simulator's path is a text of options.
    path = source.path if files is None or source.format == "simulator" else files.check(source.path)
    tape = open_tape(path, source.format, symbol=source.symbol, only=only)
    chunks: dict[str, list[Ticks]] = {}
    for chunk in tape.chunks():
        chunks.setdefault(chunk.symbol, []).append(chunk.ticks)
    return {symbol: Ticks.concatenate(parts) for symbol, parts in chunks.items()}
