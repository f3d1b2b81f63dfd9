"""``ml.events.v1``: what happens to experiments and models, as it happens. JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

EventKind = Literal["status", "progress", "metric", "log", "gate", "promotion", "notification"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a subject (an experiment's or a model's id).

    ``seq`` counts per subject from 1 in the database, so any reader can resume and drop doubles.
    """

    subject: str
    seq: int
    kind: EventKind
    ts_ns: int
    data: dict[str, Any] = {}
    schema: int = 1
