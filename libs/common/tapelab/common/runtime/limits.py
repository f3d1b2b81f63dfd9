"""How large a message may be, by topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tapelab.common.topics import ALL_TOPICS

#: What a record costs beside its key, value and headers' bytes: framing of the record and of a batch of its own.
_FRAME: Final = 256
_HEADER: Final = 16

_LIMITS: Final = {spec.name: spec.max_message_bytes for spec in ALL_TOPICS}

#: A key is a symbol; what is longer is none, and is shown in part.
KEY_BYTES: Final = 1024


def limit_of(topic: str) -> int:
    """Largest message of a topic (without its namespace), in bytes, framing included."""
    return _LIMITS[topic]


def message_bytes(key: bytes | None, value: bytes, headers: Sequence[tuple[str, bytes]]) -> int:
    """Bytes of a message on its way, at most, before compression."""
    return _FRAME + len(key or b"") + len(value) + sum(_HEADER + 4 * len(k) + len(v) for k, v in headers)
