"""What a stage logs about single records, with where they lie and the trace they belong to."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tapelab.common.clock import Clock
from tapelab.common.runtime.headers import trace_id
from tapelab.common.runtime.logs import Throttle
from tapelab.common.runtime.stage import Record, Step

#: Dead letters and gaps that are logged at once; then one in ten seconds. All of them are in the topic.
BURST: Final = 20
EVERY_S: Final = 10.0


class RecordLog:
    """Logs dead letters, gaps and halts of one stage, so that one search for a trace id finds them."""

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log = log
        self._dead = Throttle(clock, burst=BURST, every_s=EVERY_S)
        self._gaps = Throttle(clock, burst=BURST, every_s=EVERY_S)

    def step(self, records: Sequence[Record], step: Step) -> None:
        """Log what is wrong with the records of a step; nothing where nothing is."""
        for dead in step.dead:
            held_back = self._dead.admit()
            if held_back is not None:
                fields = {**told(records[dead.cause]), "reason": dead.reason, "not_logged": held_back}
                self._log.warning("record dead-lettered", extra={"fields": fields})
        if step.counts.get("gaps"):
            held_back = self._gaps.admit()
            if held_back is not None:
                first, last = told(records[0]), told(records[-1])
                self._log.warning(
                    "a dead letter explains a gap: the symbol's state begins anew and its outputs say after_gap",
                    extra={
                        "fields": {
                            "gaps": step.counts["gaps"],
                            "first": first["record"],
                            "last": last["record"],
                            "trace_ids": sorted({trace_id(r.headers) for r in records} - {""})[:8],
                            "not_logged": held_back,
                        }
                    },
                )

    def halted(self, symbol: str, message: str, records: Sequence[Record]) -> None:
        """Log a new halt; the message names the record's place."""
        found = next((told(r) for r in records if f"{_place(r)}:" in message), {})
        self._log.error(message, extra={"fields": {"symbol": symbol, **found}})


def told(record: Record) -> Mapping[str, Any]:
    """A record for a log line."""
    return {"record": _place(record), "trace_id": trace_id(record.headers)}


def _place(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"
