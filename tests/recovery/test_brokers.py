"""The broker dies: services outlive it, and nothing that it had acknowledged is lost or doubled."""

from __future__ import annotations

import asyncio
import random

import pytest

from tapelab.cli.init import initialise
from tests.fixtures_kafka import Broker, Cluster
from tests.recovery.oracle import Oracle
from tests.recovery.rig import SERVICES, STAGES
from tests.recovery.scene import scene
from tests.recovery.tape import Feeder, Tape

pytestmark = [pytest.mark.recovery, pytest.mark.stack]


@pytest.mark.timeout(600)
async def test_apache_kafka_is_killed_and_comes_back_with_its_log(
    apache_kafka: Broker, namespace: str, seed: int
) -> None:
    rng = random.Random(seed)
    async with scene(apache_kafka.environ, namespace, seed) as world:
        await world.feeder.rounds(60)
        async with world.feeding():
            await world.rig.working(*SERVICES)
            await asyncio.to_thread(apache_kafka.kill)
            await world.rig.after(rng.uniform(1.0, 5.0))
            await asyncio.to_thread(apache_kafka.start)
            await world.rig.ready()
            await world.rig.kill(rng.choice(STAGES))
            await world.rig.after(1.0)
        await world.sound(deaths=False)


@pytest.mark.timeout(600)
async def test_the_embedded_broker_comes_back_empty_and_a_new_stream_begins(
    embedded_broker: Broker, namespace: str, seed: int
) -> None:
    async with scene(embedded_broker.environ, namespace, seed, services=STAGES) as world:
        await world.feeder.rounds(80)
        await world.sound(deaths=False)
        await asyncio.to_thread(embedded_broker.kill)
        await world.rig.after(1.0)
        await asyncio.to_thread(embedded_broker.start)
        await initialise(world.rig.settings)
        await world.feeder.close()
        # The source begins anew, as ingest does; nothing of the old stream may come out again.
        world.feeder = Feeder(world.rig.settings, Tape(seed, stream=2))
        world.oracle = Oracle(world.rig.settings, world.feeder.sent)
        await world.feeder.rounds(80)
        found = await world.sound(deaths=False)
        assert found.signals > 0


@pytest.mark.recovery_long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [1, 3])
async def test_brokers_of_a_cluster_are_killed_in_turn(
    kafka_cluster: Cluster, namespace: str, seed: int, count: int
) -> None:
    """Each one leads some partitions; two of three copies acknowledge, so nothing is lost."""
    nodes = random.Random(seed).sample(kafka_cluster.nodes, count)
    async with scene(kafka_cluster.environ, namespace, seed, services=STAGES) as world:
        await world.feeder.rounds(60)
        async with world.feeding():
            for node in nodes:
                await asyncio.to_thread(node.kill)
                await world.rig.going_on(*STAGES)  # without it
                await asyncio.to_thread(node.start)
                await world.rig.going_on(*STAGES)
        await world.sound(deaths=False)
