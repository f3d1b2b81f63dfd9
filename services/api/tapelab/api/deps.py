"""What the routes work with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends
from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from tapelab.api.auth import Sessions
from tapelab.api.channels import Hub
from tapelab.api.experiments import EventLog, ExperimentsBoard
from tapelab.api.live import Live
from tapelab.api.problem import invalid
from tapelab.api.settings import ApiSettings
from tapelab.api.status import StatusBoard
from tapelab.common.clock import Clock
from tapelab.common.errors import ConfigError
from tapelab.common.instruments import Instruments
from tapelab.common.pipeline import Pipeline
from tapelab.common.storage.halts import Halts
from tapelab.common.storage.jobs import Jobs
from tapelab.common.storage.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything a route may need, built once at start."""

    settings: ApiSettings
    namespace: str
    clock: Clock
    log: logging.Logger
    instruments: Instruments
    pipeline: Pipeline
    pool: Any
    redis: Redis
    jobs: Jobs
    registry: Registry
    halts: Halts
    live: Live
    hub: Hub
    status: StatusBoard
    experiments: ExperimentsBoard
    events: EventLog
    sessions: Sessions


def deps_of(connection: HTTPConnection) -> Deps:
    """The app's dependencies."""
    deps: Deps = connection.app.state.deps
    return deps


Given = Annotated[Deps, Depends(deps_of)]


def check_symbol(deps: Deps, symbol: str, *, also: str | None = None, field: str = "symbol") -> None:
    """Refuse a symbol that no instrument describes.

    Args:
        symbol: what was given.
        also: a word that is allowed besides symbols.
        field: where it stands in the request.

    Raises:
        ApiError: 422.
    """
    if symbol == also:
        return
    try:
        deps.instruments.of(symbol)
    except ConfigError as error:
        besides = "" if also is None else f"{also!r}, or "
        raise invalid(field, expected=f"{besides}{error.expected}", actual=repr(symbol)) from error
