"""A command's waiting for a broker that is busy, starts or is being started again: bounded, and said once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tapelab.common.clock import SystemClock
from tapelab.common.runtime.kafka import broker_is_away, no_broker
from tapelab.common.runtime.link import BrokerLink
from tapelab.common.runtime.outage import Outage
from tapelab.common.settings import CommonSettings

#: A broker that shares busy cores may leave a question unanswered for some seconds, and lives.
PATIENCE_S = 30.0

T = TypeVar("T")


def patient(patience_s: float | None = None) -> Outage:
    """An outage of the broker that ends a command, after ``PATIENCE_S`` or the time given."""
    limit = PATIENCE_S if patience_s is None else patience_s
    return Outage("broker", SystemClock(), logging.getLogger("tapelab.broker"), patience_s=limit)


async def patiently(attempt: Callable[[], Awaitable[T]], patience_s: float | None = None) -> T:
    """The result of an attempt that is repeated while the broker cannot be worked with.

    Raises:
        StillAway: that takes too long.
    """
    return await patient(patience_s).through(attempt, broker_is_away)


async def wait_for_broker(settings: CommonSettings, timeout_s: float = 60.0) -> None:
    """Wait until the broker answers.

    Raises:
        StillAway: it does not within the time.
    """

    async def ask() -> None:
        link = BrokerLink(settings)
        try:
            reason = await link.open()
        finally:
            link.close()
        if reason is not None:
            raise no_broker(settings, reason)

    await patiently(ask, timeout_s)
