"""What goes wrong with the records of a partition: told in the log, and which symbols are halted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.record_log import RecordLog
from tapelab.common.runtime.stage import Record, Step


class HaltedSymbols:
    """Logs a new halt, and ends one when the symbol brings outputs again (a new stream)."""

    def __init__(self, partition: int, metrics: StageMetrics, log: logging.Logger) -> None:
        self._partition = partition
        self._metrics = metrics
        self._log = RecordLog(log, metrics.clock)
        self._messages: dict[str, str] = {}

    def update(self, records: Sequence[Record], step: Step) -> None:
        """Take in what a step says of its records."""
        self._log.step(records, step)
        for output in step.outputs if self._messages else ():
            self._messages.pop(output.record.symbol, None)
        for symbol, message in step.halts.items():
            if self._messages.get(symbol) != message:
                self._log.halted(symbol, message, records)
        self._messages |= step.halts
        self._metrics.halted(self._partition, len(self._messages))
