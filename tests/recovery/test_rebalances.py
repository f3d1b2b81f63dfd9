"""Partitions change hands with their state, and a zombie that wakes changes nothing a reader sees."""

from __future__ import annotations

import pytest

from tests.fixtures_kafka import Broker
from tests.recovery.rig import STAGES
from tests.recovery.scene import scene

pytestmark = [pytest.mark.recovery_long, pytest.mark.stack]

#: Longer than the session timeout of the group (10 s): its partitions go to somebody else.
_ASLEEP_S = 13.0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", STAGES)
async def test_a_stage_scales_from_one_to_four_to_two_to_one(
    apache_kafka: Broker, namespace: str, seed: int, stage: str
) -> None:
    async with scene(apache_kafka.environ, namespace, seed, services=STAGES) as world:
        await world.feeder.rounds(60)
        async with world.feeding():
            for number in "123":
                await world.rig.start(stage, replica=f"-{number}", TAPELAB_INSTANCE=number)
            await world.rig.working(f"{stage}-1", f"{stage}-2", f"{stage}-3")
            for number in "31":
                await world.rig.stop(f"{stage}-{number}")
                del world.rig.services[f"{stage}-{number}"]
            await world.rig.after(1.0)
            await world.rig.stop(f"{stage}-2")
            del world.rig.services[f"{stage}-2"]
            await world.rig.after(1.0)
        await world.sound()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", STAGES)
async def test_a_zombie_wakes_after_its_partitions_went_to_another(
    apache_kafka: Broker, namespace: str, seed: int, stage: str
) -> None:
    async with scene(apache_kafka.environ, namespace, seed, services=STAGES) as world:
        await world.feeder.rounds(60)
        async with world.feeding():
            await world.rig.working(stage)
            await world.rig.start(stage, replica="-1", TAPELAB_INSTANCE="1")
            await world.rig.ready(f"{stage}-1")
            world.rig.freeze(stage)
            await world.rig.after(_ASLEEP_S)
            await world.rig.working(f"{stage}-1")
            world.rig.thaw(stage)
            await world.rig.after(3.0)
        await world.sound()


@pytest.mark.timeout(600)
async def test_partitions_are_handed_over_by_hand(embedded_broker: Broker, namespace: str, seed: int) -> None:
    async with scene(embedded_broker.environ, namespace, seed, services=STAGES) as world:
        await world.feeder.rounds(60)
        async with world.feeding():
            for stage in STAGES:
                await world.rig.stop(stage)
                del world.rig.services[stage]
                for number, owned in enumerate(("0,2", "1", "3")):
                    await world.rig.start(stage, replica=f"-{number}", TAPELAB_OWNED_PARTITIONS=owned)
                await world.rig.working(f"{stage}-0", f"{stage}-1", f"{stage}-2")
            for stage in STAGES:
                for number in range(3):
                    await world.rig.stop(f"{stage}-{number}")
                    del world.rig.services[f"{stage}-{number}"]
                await world.rig.start(stage)
            await world.rig.working(*STAGES)
        await world.sound()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", STAGES)
async def test_two_own_the_same_partitions_by_mistake(
    embedded_broker: Broker, namespace: str, seed: int, stage: str
) -> None:
    """The embedded broker fences nobody: what both write is the same, and the reader's rule takes it once."""
    async with scene(embedded_broker.environ, namespace, seed, services=STAGES) as world:
        await world.feeder.rounds(60)
        async with world.feeding():
            await world.rig.working(stage)
            world.rig.freeze(stage)
            await world.rig.start(stage, replica="-1")
            await world.rig.working(f"{stage}-1")
            world.rig.thaw(stage)
            await world.rig.after(3.0)
            await world.rig.stop(f"{stage}-1")
            del world.rig.services[f"{stage}-1"]
        await world.sound()
