"""The network between services and broker misbehaves: slow, reset, half open, gone."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from tests.fixtures_kafka import Broker
from tests.recovery.proxy import Proxy
from tests.recovery.rig import STAGES
from tests.recovery.scene import Scene, scene

pytestmark = [pytest.mark.recovery, pytest.mark.stack]


async def slow(world: Scene, proxy: Proxy) -> None:
    proxy.latency_s = 0.05
    await world.rig.after(2.0)
    proxy.heal()


async def reset(world: Scene, proxy: Proxy) -> None:
    for _ in range(3):
        await proxy.reset()
        await world.rig.after(0.5)


async def half_open(world: Scene, proxy: Proxy) -> None:
    proxy.swallow()
    await world.rig.after(4.0)
    proxy.heal()


async def gone(world: Scene, proxy: Proxy) -> None:
    await proxy.cut()
    await world.rig.after(3.0)
    await proxy.listen()


FAULTS: tuple[Callable[[Scene, Proxy], Awaitable[None]], ...] = (slow, reset, half_open, gone)


@pytest.mark.timeout(600)
async def test_the_network_to_the_broker_fails_in_every_way(
    broker_behind_proxy: Broker, namespace: str, seed: int
) -> None:
    rng = random.Random(seed)
    broker = broker_behind_proxy
    direct = broker.environ if broker.environ["TAPELAB_BROKER_KIND"] == "kafka" else broker.proxied
    async with (
        Proxy(("127.0.0.1", broker.behind_port), broker.proxy_port) as proxy,
        scene(broker.proxied, namespace, seed, services=STAGES, direct=direct) as world,
    ):
        await world.feeder.rounds(60)
        async with world.feeding():
            for fault in rng.sample(FAULTS, len(FAULTS)):
                await world.rig.working(*STAGES)
                await fault(world, proxy)
                await world.rig.going_on(*STAGES)
                await world.rig.kill(rng.choice(STAGES))
            await world.rig.working(*STAGES)
        await world.sound(deaths=False)
