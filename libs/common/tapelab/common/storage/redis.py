"""Redis: what is current (pointers, halts), never what is true; PostgreSQL can rebuild it."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from tapelab.common.errors import ConfigError


def connect(url: str) -> Redis:
    """A client that connects on first use and gives bytes.

    Args:
        url: ``redis://host:port/db``, ``rediss://`` or ``unix:///path/to.sock``.

    Raises:
        ConfigError: the URL has another scheme.
    """
    try:
        return Redis.from_url(
            url, socket_timeout=5, socket_connect_timeout=5, retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3)
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
