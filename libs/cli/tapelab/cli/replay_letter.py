"""Replaying a dead letter: its symbol's whole stream once more, under a new number, with the letter in its place.

Readers took the letter for a gap and went on without it, so its numbers are behind them and sending it alone would
change nothing. The bytes still lie in the topic where they were: what is published again is the log's own sequence of
that stream, every record once, now that all of them can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tapelab.cli.dead_letters import Letter, place_of
from tapelab.common import topics
from tapelab.common.clock import Clock
from tapelab.common.codec import decode, encode
from tapelab.common.errors import GapError, PoisonRecord, TapelabError
from tapelab.common.runtime.headers import INGEST, stamp
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.reader import read_topic
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.redis import key
from tapelab.common.storage.streams import allocate_stream, latest_stream

_REMEDIES = {
    topics.BOOK: "play the collector's file again, which begins a new stream",
    topics.BARS: "replay the prints it came from, or play the tape again: the bars stage makes its bars anew",
    topics.FEATURES: "replay the prints it came from, or play the tape again: the stages make its vectors anew",
    topics.SIGNALS: "nothing: a decision is never taken a second time; readers of signals go on behind it",
}


class Plan(NamedTuple):
    """What a replay would publish. ``obstacles`` are reasons not to, which ``--force`` overrules."""

    symbol: str
    stream: int
    lineage: str
    batches: list[TickBatch]
    obstacles: list[str]

    @property
    def prints(self) -> int:
        """How many prints it holds."""
        return sum(batch.n for batch in self.batches)


async def plan_replay(settings: CommonSettings, pool: asyncpg.Pool, redis: Redis, letter: Letter) -> Plan:
    """See what replaying a letter takes; nothing is changed.

    Raises:
        TapelabError: it cannot be replayed.
    """
    if letter.topic != topics.TICKS:
        raise TapelabError(
            f"a dead letter of {letter.topic} cannot be replayed",
            expected=f"one of {topics.TICKS}",
            actual=letter.id,
            remedy=_REMEDIES.get(letter.topic, "nothing: the record is kept where it came from"),
        )
    try:
        batch: TickBatch = decode(letter.topic, letter.value)
        batch.ticks()
    except PoisonRecord as error:
        raise TapelabError(
            "the dead letter still cannot be read",
            expected="a record that this release understands",
            actual=error.actual,
            remedy="install a release that does, or play the tape again, which begins a new stream without it",
        ) from error
    origin = place_of(letter.origin)
    records = [r for r in await read_topic(settings, topics.TICKS) if r.partition == origin.partition]
    batches = stream_of(records, batch)
    _check_complete(batches, batch, letter)
    return Plan(batch.symbol, batch.stream, batch.lineage, batches, await _obstacles(settings, pool, redis, batch))


def stream_of(records: Sequence[Record], letter: TickBatch) -> list[TickBatch]:
    """Every record of the letter's stream that the log holds, each once, in the order of their numbers."""
    found: list[TickBatch] = []
    next_seq: int | None = None
    for record in records:
        try:
            batch: TickBatch = decode(topics.TICKS, record.value)
        except PoisonRecord:
            continue
        if (batch.symbol, batch.stream, batch.lineage) != (letter.symbol, letter.stream, letter.lineage):
            continue
        if next_seq is not None and batch.first_seq < next_seq:
            continue  # written twice
        if batch.n == 0 and found and found[-1] == batch:
            continue  # a marker written twice
        next_seq = batch.first_seq + batch.n
        found.append(batch)
    return found


def _check_complete(batches: list[TickBatch], letter: TickBatch, found_in: Letter) -> None:
    if letter not in batches:
        raise TapelabError(
            "the dead letter's place in the log is gone",
            expected=f"its record at {found_in.origin}",
            actual="no such record: the topic no longer holds it",
            remedy="play the tape again, which begins a new stream",
        )
    next_seq = 0
    for batch in batches:
        if batch.first_seq != next_seq:
            raise GapError(
                f"stream {letter.stream} of {letter.symbol} cannot be replayed",
                expected=f"a record that begins with seq {next_seq}",
                actual=f"seq {batch.first_seq}: the log no longer holds what is between, or another dead letter does",
                remedy="make that letter readable first, or play the tape again, which begins a new stream",
            )
        next_seq += batch.n


async def _obstacles(settings: CommonSettings, pool: asyncpg.Pool, redis: Redis, batch: TickBatch) -> list[str]:
    said: list[str] = []
    latest = await latest_stream(pool, batch.symbol)
    if latest is not None and latest > batch.stream:
        said.append(
            f"{batch.symbol} has a newer stream, {latest}: readers would drop what still comes of it, and hold the "
            f"old stream {batch.stream} for the newest"
        )
    try:
        raw = await redis.get(key(settings.namespace, "replay:status"))
    except (RedisError, OSError, TimeoutError) as error:
        return [*said, f"Redis does not answer ({error}), so nobody knows whether the source still publishes"]
    status = {} if raw is None else msgspec.json.decode(raw)
    own = status.get("symbols", {}).get(batch.symbol, {})
    if status.get("state") not in (None, "done") and own.get("stream") == batch.stream:
        said.append(
            f"the source still publishes {batch.symbol} under stream {batch.stream}: readers would drop all that "
            "it publishes from now on"
        )
    return said


async def replay(settings: CommonSettings, pool: asyncpg.Pool, clock: Clock, plan: Plan) -> int:
    """Publish the stream again; its new number."""
    stream = await allocate_stream(pool, plan.symbol, f"replay of stream {plan.stream}", plan.lineage)
    async with Publisher(settings) as publisher:
        for batch in plan.batches:
            now_ns = clock.now_ns()
            await publisher.send(
                topics.TICKS,
                plan.symbol,
                encode(msgspec.structs.replace(batch, stream=stream)),
                headers=[stamp(INGEST, now_ns)],
                timestamp_ms=now_ns // 1_000_000,
            )
        await publisher.flush()
    return stream
