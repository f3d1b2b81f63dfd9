"""Turns: what was read of a partition, in an order in which no symbol waits for another's backlog.

A partition holds many symbols. After an outage, or when one of them is busy, a chunk of its log may hold
thousands of records of one symbol and a few of the others. Symbols know nothing of each other, so they take
turns; within a symbol the log's order holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from tapelab.common.runtime.stage import Record


def size_of(record: Record) -> int:
    """Bytes a record takes, about."""
    return 64 + len(record.value or b"")


def turns(records: Sequence[Record], max_records: int, max_bytes: int) -> Iterator[list[Record]]:
    """Bounded steps that hold every record once: round by round, a slice of each symbol that has some left.

    A slice is a fair share of a step, one record at least; a record larger than a step is a step of its own.
    What fits into one step is left in the log's order.
    """
    if len(records) <= max_records and sum(map(size_of, records)) <= max_bytes:
        if records:
            yield list(records)
        return
    queues: dict[bytes | None, deque[Record]] = {}
    for record in records:
        queues.setdefault(record.key, deque()).append(record)
    step: list[Record] = []
    taken = 0
    while queues:
        share_records, share_bytes = max(1, max_records // len(queues)), max_bytes // len(queues)
        for key in list(queues):
            queue, slice_records, slice_bytes = queues[key], 0, 0
            while queue and (slice_records == 0 or (slice_records < share_records and slice_bytes < share_bytes)):
                size = size_of(queue[0])
                if step and (len(step) >= max_records or taken + size > max_bytes):
                    yield step
                    step, taken = [], 0
                step.append(queue.popleft())
                taken += size
                slice_records += 1
                slice_bytes += size
            if not queue:
                del queues[key]
    if step:
        yield step
