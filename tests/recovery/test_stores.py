"""PostgreSQL and Redis die and come back: the stream goes on, the sink catches up, the last model serves."""

from __future__ import annotations

import pytest

from tests.fixtures_kafka import Broker
from tests.recovery.rig import SERVICES
from tests.recovery.scene import scene

pytestmark = [pytest.mark.recovery, pytest.mark.stack]


@pytest.mark.timeout(600)
async def test_postgresql_and_redis_die_while_prints_flow(broker: Broker, namespace: str, seed: int) -> None:
    async with scene(broker.environ, namespace, seed) as world:
        rig = world.rig
        await world.feeder.rounds(60)
        async with world.feeding():
            await rig.working(*SERVICES)
            await rig.kill_backend(rig.postgres)
            await rig.kill_backend(rig.redis)
            await rig.after(3.0)
            await rig.working("bars", "features", "inference")
            await rig.revive(rig.postgres)
            await rig.revive(rig.redis)
            # Redis is empty: the last model goes on until somebody points at another one.
            await rig.after(2.0)
            await rig.champions.crown()
            await rig.after(1.5)
        found = await world.sound()
        assert len(found.models) == 2
        assert not [d for d in rig.deaths if not d.startswith("sink")]
