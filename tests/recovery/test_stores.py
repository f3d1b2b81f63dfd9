"""PostgreSQL and Redis die and come back: the stream goes on, the sink catches up, the last model serves."""

from __future__ import annotations

import asyncio

import pytest

from tapelab.common.settings import CommonSettings
from tapelab.common.storage.pointers import Pointer, read_pointers
from tapelab.common.storage.redis import connect
from tests.fixtures_kafka import Broker
from tests.recovery.rig import SERVICES
from tests.recovery.scene import scene

pytestmark = [pytest.mark.recovery, pytest.mark.stack]


@pytest.mark.timeout(600)
async def test_postgresql_and_redis_die_while_prints_flow(broker: Broker, namespace: str, seed: int) -> None:
    async with scene(broker.environ, namespace, seed) as world:
        rig = world.rig
        await world.feeder.rounds(60)
        await rig.start("api")  # it gives an empty Redis its pointers back
        async with world.feeding():
            await rig.working(*SERVICES, "api")
            pointed = await pointers(rig.settings)
            await rig.kill_backend(rig.postgres)
            await rig.kill_backend(rig.redis)
            await rig.after(3.0)
            await rig.working("bars", "features", "inference")
            await rig.revive(rig.postgres)
            await rig.revive(rig.redis)
            # Redis is empty: the last model goes on, and what the registry knows is written there again.
            async with asyncio.timeout(30):
                while await pointers(rig.settings) != pointed:
                    await rig.after(0.1)
            await rig.champions.crown()
            await rig.after(1.5)
        found = await world.sound()
        assert len(found.models) == 2
        assert not [d for d in rig.deaths if not d.startswith("sink")]


async def pointers(settings: CommonSettings) -> list[Pointer]:
    """What Redis says now."""
    redis = connect(settings.redis_url)
    try:
        return await read_pointers(redis, settings.namespace)
    finally:
        await redis.aclose()
