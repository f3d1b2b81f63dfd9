"""A model swap in the middle of kills: every signal has one model, the change is at the recorded offset."""

from __future__ import annotations

import random

import pytest

from tests.fixtures_kafka import Broker
from tests.recovery.scene import scene

# The short form is in test_kills, which changes the model between kills.
pytestmark = [pytest.mark.recovery_long, pytest.mark.stack]


@pytest.mark.timeout(600)
async def test_models_change_while_inference_dies(broker: Broker, namespace: str, seed: int) -> None:
    rng = random.Random(seed)
    async with scene(broker.environ, namespace, seed, services=("bars", "features", "inference")) as world:
        await world.feeder.rounds(60)
        async with world.feeding():
            await world.rig.signalling()
            for _ in range(4):
                await world.rig.working("inference")
                await world.rig.champions.crown()
                # Before it has seen the new model, while it loads it, or after the first batch under it.
                await world.rig.after(rng.uniform(0.0, 0.8))
                await world.rig.kill("inference")
            await world.rig.working("inference")
            await world.rig.signalling()
        found = await world.sound()
        assert len(found.models) > 1
