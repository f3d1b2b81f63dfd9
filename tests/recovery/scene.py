"""A rig at work, with its feeder and its oracle: what every test of recovery begins and ends with."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping

from tapelab.cli.up.verify import Difference
from tests.recovery.oracle import Findings, Oracle
from tests.recovery.rig import SERVICES, Rig, sink_rows
from tests.recovery.tape import Feeder, Tape

#: What no service may take, whatever happens to it; an idle one takes about half.
MEMORY_BYTES = 500 << 20

#: The first start on a machine compiles the kernels.
_COMPILED_S = 240


class Scene:
    """The services run, a tape can be fed, and in the end everything is judged."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.feeder = Feeder(rig.settings, Tape(seed))
        self.oracle = Oracle(rig.settings, self.feeder.sent)

    @contextlib.asynccontextmanager
    async def feeding(self, *, pause_s: float = 0.15) -> AsyncIterator[None]:
        """Feed rounds in the background; the last one is acknowledged when this ends."""
        done = asyncio.Event()
        task = asyncio.create_task(self.feeder.until(done, pause_s=pause_s))
        try:
            yield
        finally:
            done.set()
            await task

    async def sound(self, *, timeout_s: float = 90, deaths: bool = True) -> Findings:
        """Wait for rest and demand that nothing is lost, doubled, different or out of order.

        Args:
            timeout_s: how long the services may take to come to rest.
            deaths: whether services may have ended by themselves on the way.
        """
        await self.rig.ready(timeout_s=timeout_s)
        found = await self.judged(timeout_s=timeout_s)
        peaks = self.rig.peaks()
        print(f"{found.describe()}\n{found.signals} signals, faults {self.rig.faults}, peak memory {peaks}")
        assert found.sound, f"{found.describe()}\n{self.rig.story()}"
        assert deaths or not self.rig.deaths, "\n".join(self.rig.deaths)
        peaks.pop("trainer", None)  # takes what its data takes
        assert max(peaks.values()) < MEMORY_BYTES, f"expected below {MEMORY_BYTES} bytes each, got {peaks}"
        return found

    async def judged(self, *, timeout_s: float) -> Findings:
        """Wait for rest and hold everything against what must be there."""
        found = await self.oracle.settle(timeout_s=timeout_s)
        if "sink" in self.rig.services:
            found.by_topic["ticks_raw"] = await self._rows(timeout_s)
        return found

    async def _rows(self, timeout_s: float) -> Difference:
        """Rows of the sink against the prints, in order."""
        deadline = time.monotonic() + timeout_s
        while True:
            compared = await self._compared_rows()
            if not compared.lost or time.monotonic() > deadline:
                return compared
            await asyncio.sleep(0.3)

    async def _compared_rows(self) -> Difference:
        wanted: dict[tuple[str, int], list[tuple[int, float, float]]] = {}
        for batch in self.feeder.sent:
            ticks = batch.ticks()
            numbers = range(batch.first_seq, batch.first_seq + batch.n)
            rows = zip(numbers, ticks.price.tolist(), ticks.volume.tolist(), strict=True)
            wanted.setdefault((batch.symbol, batch.stream), []).extend(rows)
        found = await sink_rows(self.rig.settings)
        total = Difference()
        for who in wanted.keys() | found.keys():
            expected, got = wanted.get(who, []), found.get(who, [])
            lost, more = set(expected) - set(got), set(got) - set(expected)
            doubled = len(got) - len(set(got)) + len(more)
            total = total.plus(Difference(len(expected), len(lost), doubled))
        return total


@contextlib.asynccontextmanager
async def scene(
    broker: Mapping[str, str],
    namespace: str,
    seed: int,
    *,
    services: tuple[str, ...] = SERVICES,
    direct: Mapping[str, str] | None = None,
) -> AsyncIterator[Scene]:
    """Start the services and wait until they are ready; see :class:`Rig` for the arguments."""
    async with Rig(broker, namespace, direct=direct) as rig:
        made = Scene(rig, seed)
        try:
            await rig.start(*services)
            await rig.ready(timeout_s=_COMPILED_S)
            yield made
        finally:
            await made.feeder.close()
