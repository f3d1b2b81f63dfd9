"""What a broker can do: the one place that knows.

Everything else asks for a capability, never for a kind of broker.
"""

from __future__ import annotations

import logging
from typing import Final, Literal, NamedTuple

from tapelab.common.settings import BrokerKind, CommonSettings


class Capabilities(NamedTuple):
    """Promises of a broker that delivery and recovery are built on.

    Attributes:
        idempotence: a producer's retries are not written twice.
        transactions: several records and input offsets become visible together or not at all, and an
            older producer of the same name is fenced.
        groups: consumer groups with static membership hand out partitions in little time.
        durable: the log outlives the broker's process. Where it does not, a connection that breaks may
            mean an empty log on the other side.
        retention: old records are deleted, so the broker's memory or disk is bounded.
        exact_log_end: the broker says where a log ends; else a fetch has to tell.
        compression: codec of producers, None where it gains nothing.
        fetch_wait_ms: how long a fetch may wait for records.
    """

    idempotence: bool
    transactions: bool
    groups: bool
    durable: bool
    retention: bool
    exact_log_end: bool
    compression: Literal["zstd"] | None
    fetch_wait_ms: int


_BY_KIND: Final[dict[BrokerKind, Capabilities]] = {
    "kafka": Capabilities(
        idempotence=True,
        transactions=True,
        groups=True,
        durable=True,
        retention=True,
        exact_log_end=True,
        compression="zstd",
        fetch_wait_ms=5,
    ),
    # Its groups take half a session timeout to form; it stalls consumers at a wait of 1 ms and burns a core
    # on many idle polls below 10; the "end" of a log is that of its last batch's first record.
    "embedded": Capabilities(
        idempotence=False,
        transactions=False,
        groups=False,
        durable=False,
        retention=False,
        exact_log_end=False,
        compression=None,
        fetch_wait_ms=10,
    ),
}


def capabilities(settings: CommonSettings) -> Capabilities:
    """What the broker of these settings can do."""
    return _BY_KIND[settings.broker_kind]


def say_what_lacks(settings: CommonSettings, log: logging.Logger) -> None:
    """Tell once, at a stage's start, what this broker cannot promise."""
    able = capabilities(settings)
    if not able.durable:
        log.warning(
            "the embedded broker has neither idempotent producers nor a durable log: service kills are survived, "
            "a broker restart begins new streams; use BROKER=kafka for long runs"
        )
