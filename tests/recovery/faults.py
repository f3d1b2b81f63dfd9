"""Schedules of faults: drawn from a seed before anything starts, so that the seed replays them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import NamedTuple

from tests.recovery.rig import Rig


class Kill(NamedTuple):
    """kill -9 of ``victims``, so long after all of them were at work again, or in the middle of starting."""

    victims: tuple[str, ...]
    after_s: float
    starting: bool


def kills(seed: int, count: int, names: Sequence[str]) -> list[Kill]:
    """So many kills: of one service or of two at once, of working and of starting ones, each about as often."""
    rng = random.Random(seed)
    drawn: list[Kill] = []
    waiting: list[str] = []
    left = count
    while left > 0:
        if len(waiting) < 2:
            waiting += [name for name in rng.sample(list(names), len(names)) if name not in waiting]
        size = min(left, rng.choice((1, 1, 2)))
        victims, waiting = tuple(waiting[:size]), waiting[size:]
        drawn.append(Kill(victims, round(rng.uniform(0.0, 0.6), 3), rng.random() < 0.15))
        left -= len(victims)
    return drawn


async def strike(rig: Rig, schedule: Sequence[Kill]) -> None:
    """Carry a schedule out. A service that is killed while it starts is hit before it has recovered."""
    for kill in schedule:
        if kill.starting:
            await asyncio.sleep(0.2)
        else:
            await rig.working(*kill.victims)
        await asyncio.sleep(kill.after_s)
        await rig.kill(*kill.victims)
