"""Which symbols of a partition a stage has halted, told once each."""

from __future__ import annotations

import logging

from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.stage import Step


class HaltedSymbols:
    """Logs a new halt, and ends one when the symbol brings outputs again (a new stream)."""

    def __init__(self, partition: int, metrics: StageMetrics, log: logging.Logger) -> None:
        self._partition = partition
        self._metrics = metrics
        self._log = log
        self._messages: dict[str, str] = {}

    def update(self, step: Step) -> None:
        """Take in what a step says."""
        for output in step.outputs if self._messages else ():
            self._messages.pop(output.record.symbol, None)
        for symbol, message in step.halts.items():
            if self._messages.get(symbol) != message:
                self._log.error(message)
        self._messages |= step.halts
        self._metrics.halted(self._partition, len(self._messages))
