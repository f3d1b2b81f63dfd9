"""Consumers that cannot keep up: memory stays bounded, nothing is dropped, and they catch up."""

from __future__ import annotations

import time

import pytest

from tests.fixtures_kafka import Broker
from tests.recovery.rig import SERVICES
from tests.recovery.scene import MEMORY_BYTES, scene

pytestmark = [pytest.mark.recovery, pytest.mark.stack]


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(8, marks=pytest.mark.timeout(600)),
        pytest.param(180, marks=[pytest.mark.recovery_long, pytest.mark.timeout(900)]),
    ],
)
async def test_a_sink_without_its_database_and_a_slow_stage(
    broker: Broker, namespace: str, seed: int, seconds: int
) -> None:
    async with scene(broker.environ, namespace, seed) as world:
        rig = world.rig
        await world.feeder.rounds(60)
        await rig.working(*SERVICES)
        rig.freeze_backend(rig.postgres)
        async with world.feeding(pause_s=0.005):
            until = time.monotonic() + seconds
            while time.monotonic() < until:  # inference gets a tenth of the time
                rig.freeze("inference")
                await rig.after(0.9)
                rig.thaw("inference")
                await rig.after(0.1)
        peaks = rig.peaks()
        assert max(peaks.values()) < MEMORY_BYTES, peaks
        rig.thaw_backend(rig.postgres)
        await world.sound(timeout_s=90 + seconds)
