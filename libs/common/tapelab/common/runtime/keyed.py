"""What every reader of a market topic may rely on: the key is the symbol, the partition is the key's, and numbers
leave room for arithmetic.

The key decides the partition, and with it who owns the symbol's state. A record under another key or in another
partition would be taken by another owner, or out of turn by the right one, so it is poison like bytes that are no
record.
"""

from __future__ import annotations

from typing import Any, Final

from tapelab.common.codec import decode, seq_range
from tapelab.common.errors import PoisonRecord
from tapelab.common.runtime.stage import Record

#: Symbols of all venues are far shorter; what is longer would go into every log line and key.
SYMBOL_CHARS: Final = 64
#: Numbers up to here fit 64 bits, in PostgreSQL too, with room to count on.
LARGEST: Final = 2**62

_REMEDY: Final = "fix the producer; the record went to the dead-letter topic"


def decode_keyed(record: Record) -> Any:
    """The record of a market topic.

    Raises:
        PoisonRecord: the bytes are no record of the topic, its symbol is not the key or none that can be shown, it
            lies in another partition than its key's, or its numbers are out of range.
    """
    value = decode(record.topic, record.value)
    symbol: str = value.symbol
    if not (0 < len(symbol) <= SYMBOL_CHARS and symbol.isprintable()):
        raise PoisonRecord(
            f"record on {record.topic} has no proper symbol",
            expected=f"1 to {SYMBOL_CHARS} printable characters",
            actual=f"{len(symbol)}, {symbol[:SYMBOL_CHARS]!r}",
            remedy=_REMEDY,
        )
    if record.key != symbol.encode():
        key = "none" if record.key is None else repr(record.key[:SYMBOL_CHARS])
        raise PoisonRecord(
            f"record of {symbol} on {record.topic} is under another key",
            expected=f"the key {symbol}",
            actual=key,
            remedy=_REMEDY,
        )
    if record.misplaced:
        raise PoisonRecord(
            f"record of {symbol} on {record.topic} lies in another symbol's partition",
            expected="the partition that murmur2 of its key gives, as Kafka's Java client computes it",
            actual=f"partition {record.partition}",
            remedy=_REMEDY,
        )
    first, last = seq_range(value)
    if not (0 <= value.stream <= LARGEST and 0 <= first <= LARGEST and 0 <= last <= LARGEST):
        raise PoisonRecord(
            f"record of {symbol} on {record.topic} has a number out of range",
            expected="stream and seq from 0 to 2^62",
            actual=f"{value.stream}, {first}, {last}",
            remedy=_REMEDY,
        )
    return value
