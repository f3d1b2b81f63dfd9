"""What goes wrong with the records of a partition: told in the log, and which symbols are halted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.record_log import RecordLog
from tapelab.common.runtime.sequence import halted_stream
from tapelab.common.runtime.stage import Record, Step


class HaltedSymbols:
    """Logs each halt once, and ends a symbol's when it brings outputs of a higher stream.

    Outputs of the same stream end none: they are of another lineage of the symbol, or close its positions. A halt's
    message names its place in the log, so one that is told again is the same halt.
    """

    def __init__(self, partition: int, metrics: StageMetrics, log: logging.Logger) -> None:
        self._partition = partition
        self._metrics = metrics
        self._log = RecordLog(log, metrics.clock)
        self._told: set[tuple[str, str]] = set()
        self._streams: dict[str, int] = {}

    def update(self, records: Sequence[Record], step: Step) -> None:
        """Take in what a step says of its records."""
        self._log.step(records, step)
        for symbol, message in step.halts.items():
            if (symbol, message) not in self._told:
                self._told.add((symbol, message))
                self._log.halted(symbol, message, records)
            self._streams[symbol] = max(halted_stream(message), self._streams.get(symbol, -1))
        for output in step.outputs if self._streams else ():
            record = output.record
            if record.stream > self._streams.get(record.symbol, record.stream):
                del self._streams[record.symbol]
        self._metrics.halted(self._partition, len(self._streams))
