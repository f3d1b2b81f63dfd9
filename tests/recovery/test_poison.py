"""Records that cannot be used, on every topic, among good ones: dead letters with origin and reason, nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest

from tapelab.common import topics
from tapelab.common.codec import encode
from tapelab.common.topics import partition_of
from tests.fixtures_kafka import Broker
from tests.recovery.scene import Scene, scene
from tests.recovery.tape import SYMBOLS, Tape

pytestmark = [pytest.mark.recovery, pytest.mark.stack]

#: A market topic takes records up to 4 MiB; the dead letter must find room for its headers besides.
_OVERSIZE = 4_194_304 - 400


def poison(rng: random.Random, good: bytes) -> Iterator[tuple[str, bytes | None]]:
    """(what it is, bytes) of records that no reader can use; ``good`` is one that a reader could."""
    yield "nothing", None
    yield "empty", b""
    yield "noise", rng.randbytes(200)
    yield "truncated", good[: len(good) // 2]
    yield "cut by a byte", good[:-1]
    yield "another schema", msgspec.msgpack.encode({"version": 9, "body": [1, 2, 3]})
    yield "a field of another type", msgspec.msgpack.encode([7, *msgspec.msgpack.decode(good)[1:]])
    yield "nested without end", b"\x91" * 5000 + b"\x01"
    yield "a record of another symbol", msgspec.msgpack.encode(["STRAY", *msgspec.msgpack.decode(good)[1:]])
    yield "oversize", rng.randbytes(_OVERSIZE)


async def spoil(world: Scene, rng: random.Random, topic: str, good: bytes) -> None:
    """Poison of every kind, under keys of real symbols, under none and under an empty one."""
    for _, value in poison(rng, good):
        symbol = rng.choice(SYMBOLS)
        key = rng.choice((symbol.encode(), symbol.encode(), None, b""))
        if value is None and key is None:
            key = b""  # a client sends no record without both
        await world.feeder.raw(topic, key, value, partition_of(symbol, 4))
    if topic == topics.TICKS:
        # Good prints, but where another producer's partitioner would put them: nobody may take them for a new stream.
        (stray,) = Tape(7, stream=9, symbols=SYMBOLS[:1]).round()
        partition = (partition_of(stray.symbol, 4) + 1) % 4
        await world.feeder.raw(topic, stray.symbol.encode(), encode(stray), partition)


@pytest.mark.timeout(600)
async def test_poison_goes_to_the_dead_letters_and_nothing_else_changes(
    broker: Broker, namespace: str, seed: int
) -> None:
    rng = random.Random(seed)
    good = encode(Tape(seed + 1000, stream=0).round()[0])
    async with scene(broker.environ, namespace, seed, services=("bars", "features", "inference")) as world:
        await world.feeder.rounds(60)
        async with world.feeding():
            for topic in (topics.TICKS, topics.BARS, topics.FEATURES):
                await spoil(world, rng, topic, good)
                await world.rig.kill("bars", "features", "inference")
                await world.rig.working("bars", "features", "inference")
        found = await world.sound(deaths=False)
        for topic in (topics.TICKS, topics.BARS, topics.FEATURES):
            assert found.by_topic[topic + topics.DLQ_SUFFIX].expected >= 10


@pytest.mark.recovery_long
@pytest.mark.timeout(600)
async def test_a_batch_that_came_broken_is_a_gap_that_its_dead_letter_explains(
    broker: Broker, namespace: str, seed: int
) -> None:
    async with scene(broker.environ, namespace, seed, services=("bars", "features", "inference")) as world:
        world.feeder.broken = random.Random(seed)
        async with world.feeding(pause_s=0.02):
            for stage in ("bars", "features", "inference"):
                await world.rig.working(stage)
                await world.rig.kill(stage)
            await world.rig.working("inference")
        found = await world.sound(deaths=False)
        assert found.by_topic[topics.TICKS + topics.DLQ_SUFFIX].expected > 3
        assert not any(found.by_topic[t].lost for t in (topics.BARS, topics.FEATURES, topics.SIGNALS))
