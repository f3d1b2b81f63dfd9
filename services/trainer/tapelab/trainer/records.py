"""Records of a topic, those that cannot be decoded left out: they are the dead-letter topic's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tapelab.common.errors import PoisonRecord
from tapelab.common.runtime.keyed import decode_keyed
from tapelab.common.runtime.stage import Record


def decoded(records: Sequence[Record]) -> Iterator[tuple[Record, Any]]:
    """Each readable record with what it says, in order."""
    for record in records:
        try:
            yield record, decode_keyed(record)
        except PoisonRecord:
            continue
