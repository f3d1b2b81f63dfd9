"""The experiments channel: follows the table of experiments and tells watchers what changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from tapelab.api.channels import Hub
from tapelab.api.convert import experiment_item
from tapelab.common.codec import encode
from tapelab.common.schemas.events import Event, EventKind
from tapelab.common.storage.jobs import Jobs
from tapelab.common.topics import EVENTS

#: Newest experiments that the channel holds.
KEPT = 200

Send = Callable[[str, str, bytes], Awaitable[object]]


class ExperimentsBoard:
    """The newest experiments as last seen; every difference becomes a delta of the channel.

    The table is the truth and is read often, so nothing is missed if an event gets lost; events only make
    the next look come sooner.
    """

    CHANNEL = "experiments"

    def __init__(self, jobs: Jobs, hub: Hub) -> None:
        self._jobs = jobs
        self._items: dict[str, bytes] = {}  # newest first
        self._lock = asyncio.Lock()
        self._channel = hub.define(self.CHANNEL, self.snapshot)

    def snapshot(self) -> bytes:
        """All items, newest first, as JSON."""
        return b'{"items":[' + b",".join(self._items.values()) + b"]}"

    async def refresh(self) -> None:
        """Look at the table and send what changed, oldest experiment first."""
        async with self._lock:
            rows = await self._jobs.summaries(KEPT)
            seen = {row.id: experiment_item(row).model_dump_json().encode() for row in rows}
            before, self._items = self._items, seen
            for id in reversed(seen):
                if seen[id] != before.get(id):
                    self._channel.push(seen[id])


class EventLog:
    """Records an event in PostgreSQL and announces it on ``ml.events.v1``.

    Args:
        send: sends (topic, key, value); an announcement that fails is logged, the record stands.
    """

    def __init__(self, jobs: Jobs, send: Send | None, log: logging.Logger) -> None:
        self._jobs = jobs
        self._send = send
        self._log = log

    async def append(self, subject: str, kind: EventKind, data: dict[str, Any]) -> Event:
        """Record an event of an experiment or a model."""
        event = await self._jobs.append_event(subject, kind, data)
        await self.announce(event)
        return event

    async def announce(self, event: Event) -> None:
        """Announce an event that is recorded already."""
        if self._send is not None:
            try:
                await self._send(EVENTS, event.subject, encode(event))
            except Exception:
                self._log.exception("an event is recorded but could not be announced on %s", EVENTS)
