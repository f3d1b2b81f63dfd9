"""Dead letters of the topics whose first reader is the gateway: signals and events.

Every other topic is dead-lettered by the stage behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from tapelab.api.live import Live
from tapelab.common.runtime.headers import dead_letter
from tapelab.common.runtime.stage import Record
from tapelab.common.topics import DLQ_SUFFIX, EVENTS, SIGNALS

STAGE: Final = "api"
OWN: Final = (SIGNALS, EVENTS)


class Send(Protocol):
    """What it needs of a publisher."""

    async def __call__(
        self, topic: str, key: str, value: bytes, *, partition: int | None, headers: Sequence[tuple[str, bytes]]
    ) -> Any:
        """Queue a record."""
        ...


class DeadLetters:
    """Keeps poison until the log is read to its end, then sends what the dead-letter topic does not hold yet.

    The gateway reads the log from its start after every restart, so the same poison comes again.
    """

    def __init__(self, live: Live, send: Send) -> None:
        self._live = live
        self._send = send
        self._waiting: list[tuple[Record, str]] = []

    def add(self, poison: Sequence[tuple[Record, str]]) -> None:
        """Take in records that could not be decoded, with the reasons."""
        self._waiting += [(record, reason) for record, reason in poison if record.topic in OWN]

    def begin_again(self) -> None:
        """The log is read from its beginning again, and the poison in it comes again."""
        self._waiting.clear()

    async def flush(self) -> None:
        """Send them."""
        while self._waiting:
            record, reason = self._waiting[0]
            if not self._live.is_dead_lettered(STAGE, record):
                await self._send(
                    record.topic + DLQ_SUFFIX,
                    (record.key or b"").decode(errors="replace"),
                    record.value or b"",
                    partition=record.partition,
                    headers=dead_letter(record, STAGE, reason),
                )
            self._waiting.pop(0)
