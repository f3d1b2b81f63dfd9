"""kill -9 at any moment: nothing lost, nothing doubled, and a new model takes over at a recorded offset."""

from __future__ import annotations

import pytest

from tests.fixtures_kafka import Broker
from tests.recovery.faults import kills, strike
from tests.recovery.rig import SERVICES
from tests.recovery.scene import scene

pytestmark = [pytest.mark.recovery, pytest.mark.stack]


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(12, marks=pytest.mark.timeout(600)),
        pytest.param(110, marks=[pytest.mark.recovery_long, pytest.mark.timeout(1800)]),
    ],
)
async def test_services_are_killed_alone_and_in_pairs(broker: Broker, namespace: str, seed: int, count: int) -> None:
    schedule = kills(seed, count, SERVICES)
    thirds = [schedule[i::3] for i in range(3)]
    async with scene(broker.environ, namespace, seed) as world:
        await world.feeder.rounds(60)  # the features are warm
        async with world.feeding():
            for part in thirds:
                await strike(world.rig, part)
                await world.rig.working("inference")
                await world.rig.champions.crown()
            await world.rig.working(*SERVICES)
        found = await world.sound()
        assert found.signals > 100
        assert len(found.models) > 1, "a model swap in the middle of it all"
        assert world.rig.faults["kill -9"] == count
