"""Every service as a process of its own: started together, watched, restarted when one dies."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from tapelab.cli.stack.layout import Layout
from tapelab.cli.stack.ports import free_port
from tapelab.cli.stack.processes import Child
from tapelab.common.errors import TapelabError

#: A service that dies more often than this within the window is not restarted any more.
MAX_RESTARTS: Final = 5
RESTART_WINDOW_S: Final = 60.0
#: Where nothing is compiled yet and the cores are busy, seven processes compile their kernels at once: minutes.
READY_S: Final = 600.0

#: What takes longer to be ready than this is said.
_SLOW_S: Final = 10.0


class Deaths:
    """How often something has died lately."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def too_many(self, now: float) -> bool:
        """Count one at ``now`` (s, monotonic); whether it should not be started again any more."""
        self._times = [t for t in self._times if now - t < RESTART_WINDOW_S] + [now]
        return len(self._times) > MAX_RESTARTS

    @property
    def pause_s(self) -> float:
        """How long to wait before it is started again."""
        return 0.2 * len(self._times)


class ServiceSpec(NamedTuple):
    """How a service is run. ``essential`` ones end the stack when they fail by themselves; one that was killed is
    started again like every other."""

    name: str
    module: str
    essential: bool = False


#: In the way of the data. Ingest begins new streams whenever it starts; what it fails with, it would fail with again.
SERVICES: Final = (
    ServiceSpec("sink", "tapelab.ingest.sink"),
    ServiceSpec("bars", "tapelab.bars"),
    ServiceSpec("features", "tapelab.features"),
    ServiceSpec("inference", "tapelab.inference"),
    ServiceSpec("trainer", "tapelab.trainer"),
    ServiceSpec("api", "tapelab.api"),
    ServiceSpec("ingest", "tapelab.ingest", essential=True),
)


class Supervisor:
    """Starts and watches the services.

    Args:
        layout: where the logs go.
        environ: settings every service gets.
        note: is told of every service that is started again.
    """

    def __init__(
        self, layout: Layout, environ: Mapping[str, str], note: Callable[[str], None] = lambda text: None
    ) -> None:
        self._note = note
        self._layout = layout
        self._environ = environ
        self._own: Mapping[str, Mapping[str, str]] = {}
        self._ports = {spec.name: free_port() for spec in SERVICES}
        self._children: dict[str, Child] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._expected: set[str] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def addresses(self) -> dict[str, str]:
        """Health and metrics address of every service."""
        return {name: f"http://127.0.0.1:{port}" for name, port in self._ports.items()}

    @property
    def restarts(self) -> dict[str, int]:
        """How often each service was restarted."""
        return {name: child.restarts for name, child in self._children.items()}

    def configure(self, own: Mapping[str, Mapping[str, str]]) -> None:
        """Settings of single services, by name; before they are started."""
        self._own = own

    def up(self, name: str) -> bool:
        """Whether a service's process lives."""
        return name in self._children and self._children[name].running

    def log(self, name: str) -> Path:
        """A service's log file."""
        return self._layout.logs / f"{name}.log"

    async def start(self, names: tuple[str, ...]) -> None:
        """Start some services at once."""
        for spec in SERVICES:
            if spec.name not in names:
                continue
            child = Child(
                spec.name,
                [sys.executable, "-m", spec.module],
                {
                    **self._environ,
                    **self._own.get(spec.name, {}),
                    "TAPELAB_HTTP_PORT": str(self._ports[spec.name]),
                },
                self.log(spec.name),
            )
            child.log.parent.mkdir(parents=True, exist_ok=True)
            child.log.write_bytes(b"")  # one run, one log
            await child.start()
            self._children[spec.name] = child
            self._watchers.append(asyncio.create_task(self._watch(spec, child)))

    async def ready(self, names: tuple[str, ...], say: Callable[[str], None] = lambda text: None) -> None:
        """Wait until the services say that they can work; ``say`` is told what a slow one waits for.

        Raises:
            TapelabError: one does not in time; the first of them is named with its log file.
        """
        begun = asyncio.get_running_loop().time()
        deadline, slow, said = begun + READY_S, begun + _SLOW_S, ""
        async with httpx.AsyncClient(timeout=2.0) as http:
            for name in names:
                detail = "no answer"
                while True:
                    if self.failed.done():
                        self.failed.result()
                    try:
                        answer = await http.get(f"{self.addresses[name]}/readyz")
                        if answer.status_code == 200 and answer.json()["service"] == name:
                            break
                        detail = _detail(answer)
                    except httpx.HTTPError as error:
                        detail = str(error) or type(error).__name__
                    if _lasting(detail) != said and asyncio.get_running_loop().time() > slow:
                        said = _lasting(detail)
                        say(f"waiting for {name}: {detail}")
                    if asyncio.get_running_loop().time() > deadline:
                        child = self._children[name]
                        raise TapelabError(
                            f"service {name} is not ready",
                            expected=f"ready within {READY_S:g} s",
                            actual=detail,
                            remedy=f"its log, {child.log}, says last: {child.last_words()}",
                        )
                    await asyncio.sleep(0.1)

    async def stop(self, name: str) -> None:
        """Stop one service for good and wait for it."""
        self._expected.add(name)
        if name in self._children:
            await self._children[name].stop()

    async def stop_all(self) -> None:
        """Stop everything, against the way of the data, so that nothing waits for what is gone."""
        self._expected.update(self._children)
        await asyncio.gather(*(child.stop() for child in self._children.values()))
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        if self.failed.done():
            self.failed.exception()  # looked at, whoever waited for it

    async def _watch(self, spec: ServiceSpec, child: Child) -> None:
        loop = asyncio.get_running_loop()
        deaths = Deaths()
        while True:
            code = await child.wait()
            if spec.name in self._expected or (spec.essential and code == 0):
                return
            if deaths.too_many(loop.time()) or (spec.essential and code > 0):
                if not self.failed.done():
                    self.failed.set_exception(child.failure())
                return
            await asyncio.sleep(deaths.pause_s)
            if spec.name in self._expected:
                return
            child.restarts += 1
            self._note(f"{spec.name} has ended (exit code {code}) and is started again")
            await child.start()


def _lasting(detail: str) -> str:
    """A detail without the seconds that it counts."""
    return re.sub(r"\d+(\.\d+)? s\b", "", detail)


def _detail(answer: httpx.Response) -> str:
    """What ``/readyz`` says in words; another page as it is."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text
