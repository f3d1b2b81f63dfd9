"""Partitions change hands with their state, and a zombie that wakes changes nothing a reader sees."""

from __future__ import annotations

import pytest

from tests.fixtures_kafka import Broker
from tests.recovery.rig import STAGES
from tests.recovery.scene import scene

pytestmark = [pytest.mark.recovery, pytest.mark.stack]

#: The deciding stage every time (its transactions are what a zombie could break), the pure ones in long runs.
SHORT_AND_LONG = [
    pytest.param("inference"),
    *(pytest.param(stage, marks=pytest.mark.recovery_long) for stage in STAGES if stage != "inference"),
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", SHORT_AND_LONG)
async def test_a_stage_scales_from_one_to_four_to_two_to_one(
    apache_kafka: Broker, namespace: str, seed: int, stage: str
) -> None:
    async with scene(apache_kafka.environ, namespace, seed, services=STAGES) as world:
        rig = world.rig
        await world.feeder.rounds(60)
        async with world.feeding():
            for number in "123":
                await rig.start(stage, replica=f"-{number}", TAPELAB_INSTANCE=number)
            await rig.owning({stage: 1, **{f"{stage}-{number}": 1 for number in "123"}})
            await rig.going_on(stage, f"{stage}-1", f"{stage}-2", f"{stage}-3")
            # A static member that stops keeps its partitions until its session is over.
            for number in "31":
                await rig.stop(f"{stage}-{number}")
                del rig.services[f"{stage}-{number}"]
            await rig.owning({stage: 2, f"{stage}-2": 2})
            await rig.stop(f"{stage}-2")
            del rig.services[f"{stage}-2"]
            await rig.owning({stage: 4})
            await rig.going_on(stage)
        await world.sound()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", SHORT_AND_LONG)
async def test_a_zombie_wakes_after_its_partitions_went_to_another(
    apache_kafka: Broker, namespace: str, seed: int, stage: str
) -> None:
    async with scene(apache_kafka.environ, namespace, seed, services=STAGES) as world:
        rig = world.rig
        await world.feeder.rounds(60)
        async with world.feeding():
            await rig.start(stage, replica="-1", TAPELAB_INSTANCE="1")
            await rig.owning({stage: 2, f"{stage}-1": 2})
            await rig.going_on(stage)
            rig.freeze(stage)
            await rig.owning({f"{stage}-1": 4})  # the session of the sleeping one is over
            await rig.going_on(f"{stage}-1")
            rig.thaw(stage)
            await rig.owning({stage: 2, f"{stage}-1": 2})
            await rig.going_on(stage, f"{stage}-1")
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


@pytest.mark.recovery_long
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
