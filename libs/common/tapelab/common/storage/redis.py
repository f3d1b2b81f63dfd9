"""Redis: what is current (pointers, halts), never what is true; PostgreSQL can rebuild it."""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from tapelab.common.errors import ConfigError

#: How long a command, or the connection before it, may take; what takes longer has a hung Redis behind it.
ANSWER_S: Final = 2.0


def connect(url: str) -> Redis:
    """A client that connects on first use and gives bytes.

    Args:
        url: ``redis://host:port/db``, ``rediss://`` or ``unix:///path/to.sock``.

    Raises:
        ConfigError: the URL has another scheme.
    """
    try:
        # A connection that was cut is made again once. A silence is not tried again: the client repeats the connection
        # inside of the repeated command, and the attempts multiply to more than a minute.
        return Redis.from_url(
            url,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(ConstantBackoff(0.05), 1, supported_errors=(RedisConnectionError,)),
        )
    except ValueError as error:
        raise ConfigError(
            "the address of Redis is wrong",
            expected="redis://host:port/db, rediss://... or unix:///path",
            actual=url.partition("@")[2] or url,
            remedy="correct TAPELAB_REDIS_URL",
        ) from error


def key(namespace: str, name: str) -> str:
    """A key's name: ``namespace:tapelab:name``, without the first part where there is no namespace."""
    return f"{namespace}:tapelab:{name}" if namespace else f"tapelab:{name}"
