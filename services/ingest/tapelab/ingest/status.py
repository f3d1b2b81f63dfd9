"""What a replay tells the others, and what it is told: two keys in Redis."""

from __future__ import annotations

import logging
from typing import Literal

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tapelab.common.storage.redis import key
from tapelab.ingest.lanes import Lanes

State = Literal["playing_first", "waiting", "playing_rest", "following", "done"]

STATUS_KEY = "replay:status"
RELEASE_KEY = "replay:release"


class ReplayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """JSON under ``tapelab:replay:status``.

    Args:
        state: ``waiting`` at the cut until ``tapelab:replay:release`` holds ``run``; ``following`` new rows of a table.
        run: names this run.
        cut_ts_ns: event time at which the second part begins; None where the tape is not cut by time.
        symbols: per symbol its stream and the number of prints published.
        ts_event_ns: latest event time published.
        rejects: malformed rows so far, and where they are listed.
    """

    state: State
    run: str
    source: str
    lineage: str
    cut_ts_ns: int | None
    symbols: dict[str, dict[str, int]]
    ts_event_ns: int
    rejects: int
    rejects_path: str | None


class Bulletin:
    """Publishes the status and looks for the release; a Redis that is away for a while is only logged."""

    def __init__(self, redis: Redis, namespace: str, run: str, log: logging.Logger) -> None:
        self._redis = redis
        self._status = key(namespace, STATUS_KEY)
        self._release = key(namespace, RELEASE_KEY)
        self.run = run
        self._log = log
        self._lost = False

    async def publish(self, status: ReplayStatus) -> None:
        """Write the status."""
        try:
            await self._redis.set(self._status, msgspec.json.encode(status))
            self._found()
        except RedisError as error:
            self._miss(error)

    async def released(self) -> bool:
        """Whether somebody has released this run."""
        try:
            value = await self._redis.get(self._release)
            self._found()
        except RedisError as error:
            self._miss(error)
            return False
        return value in (self.run, self.run.encode())

    def _miss(self, error: RedisError) -> None:
        if not self._lost:
            self._log.warning(f"Redis does not answer ({error}); the replay goes on and its status waits")
        self._lost = True

    def _found(self) -> None:
        if self._lost:
            self._log.info("Redis answers again")
        self._lost = False


def symbols_of(lanes: Lanes) -> dict[str, dict[str, int]]:
    """Streams and counts for the status."""
    return {lane.symbol: {"stream": lane.stream, "next_seq": lane.next_seq} for lane in lanes.lanes.values()}
