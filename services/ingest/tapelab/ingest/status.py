"""What a replay tells the others, and what it is told: two keys in Redis."""

from __future__ import annotations

import logging
from typing import Final, Literal

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
        restarts: how often the source was begun again under new streams, and why the last time: ingest was killed,
            or the broker lost its log.
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
    restarts: int = 0
    restarted: str = ""


_LOST: Final = (RedisError, OSError, TimeoutError)


class Bulletin:
    """Publishes the status and looks for the release; a Redis that is away for a while is only logged.

    Args:
        run: names this run; it keeps its name when the source is begun again.
    """

    def __init__(self, redis: Redis, namespace: str, run: str, log: logging.Logger) -> None:
        self.restarts = 0
        self.restarted = ""
        self._released = False
        self._redis = redis
        self._status = key(namespace, STATUS_KEY)
        self._release = key(namespace, RELEASE_KEY)
        self.run = run
        self._log = log
        self._lost = False

    async def publish(self, status: ReplayStatus) -> None:
        """Write the status."""
        if status.state == "playing_rest":
            self._released = True
        try:
            await self._redis.set(self._status, msgspec.json.encode(status))
            self._found()
        except _LOST as error:
            self._miss(error)

    async def released(self) -> bool:
        """Whether somebody has released this run; once is enough."""
        if self._released:
            return True
        try:
            value = await self._redis.get(self._release)
            self._found()
        except _LOST as error:
            self._miss(error)
            return False
        self._released = value in (self.run, self.run.encode())
        return self._released

    async def take_up(self, source: str, lineage: str, cut_ts_ns: int | None) -> int:
        """Go on as the run that a killed process has left unfinished, if it played the same.

        Returns:
            the event time that run had reached after its release, 0 where it had not been released or there is none.
        """
        try:
            raw = await self._redis.get(self._status)
            earlier = None if raw is None else msgspec.json.decode(raw, type=ReplayStatus)
        except (*_LOST, msgspec.MsgspecError) as error:
            self._log.warning(f"no status of an earlier run can be read ({error}); this is a new one")
            return 0
        same = (source, lineage, cut_ts_ns)
        if earlier is None or earlier.state == "done" or (earlier.source, earlier.lineage, earlier.cut_ts_ns) != same:
            return 0
        self.run = earlier.run
        self.begin_again("ingest was started again", earlier.restarts)
        return earlier.ts_event_ns if earlier.state == "playing_rest" else 0

    def begin_again(self, why: str, restarts: int | None = None) -> None:
        """The source is begun again under new streams."""
        self.restarts = (self.restarts if restarts is None else restarts) + 1
        self.restarted = why
        self._log.warning(
            f"{why}: the source is begun again from its start, under new streams; readers drop the old ones",
            extra={"fields": {"run": self.run, "restarts": self.restarts}},
        )

    def _miss(self, error: BaseException) -> None:
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
