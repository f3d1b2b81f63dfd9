"""Something that a service depends on is away: tell it once, try again with growing pauses, tell when it is back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Protocol, TypeVar

from tapelab.common.clock import Clock
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.backoff import Backoff

#: Shorter than a stop may take, as the pause is not cut short by one.
LONGEST_PAUSE_S: Final = 5.0

T = TypeVar("T")


class Stopped(Exception):
    """The service was told to stop while something that it needs is away."""


class StillAway(TapelabError):
    """A dependency has been away for longer than a command waits."""


class Readiness(Protocol):
    """Who is told, such as a :class:`ServiceContext`; ``stopping`` ends the waiting."""

    stopping: asyncio.Event

    def waiting(self, dependency: str, why: str) -> None:
        """It does not answer."""
        ...

    def answered(self, dependency: str) -> None:
        """It answers (again)."""
        ...


class Outage:
    """One dependency of a service, and whether it is away.

    Args:
        dependency: ``broker``, ``postgres`` or ``redis``.
        clock: waits between two attempts.
        log: is told once when the outage begins and once when it ends.
        readiness: is told the same.
        patience_s: how long a command waits; a service waits for as long as it takes.
        silent_s: an attempt that is not done after so long is told as an outage while it goes on; for a dependency
            whose answers are short. Its own limit may be far longer.
    """

    def __init__(
        self,
        dependency: str,
        clock: Clock,
        log: logging.Logger,
        readiness: Readiness | None = None,
        *,
        patience_s: float | None = None,
        silent_s: float | None = None,
    ) -> None:
        self._patience_s = patience_s
        self._silent_s = silent_s
        self._dependency = dependency
        self._clock = clock
        self.log = log
        self._readiness = readiness
        self._since_ns: int | None = None
        self._backoff = Backoff(random.Random(dependency))

    @property
    def away(self) -> bool:
        """Whether it is away as far as is known."""
        return self._since_ns is not None

    def begin(self, why: BaseException | str) -> None:
        """It does not answer."""
        text = _said(why)
        if self._since_ns is None:
            self._since_ns = self._clock.monotonic_ns()
            self.log.warning(f"{self._dependency} is away, waiting for it: {text}")
        if self._readiness is not None:
            self._readiness.waiting(self._dependency, text)

    def over(self) -> None:
        """It answers."""
        self._backoff.reset()
        if self._since_ns is not None:
            seconds = (self._clock.monotonic_ns() - self._since_ns) / 1e9
            self._since_ns = None
            self.log.info(f"{self._dependency} is back", extra={"fields": {"away_s": round(seconds, 3)}})
        if self._readiness is not None:
            self._readiness.answered(self._dependency)

    async def wait(self, why: BaseException | str) -> None:
        """Pause before the next attempt: about 0.1 s, twice as long each time, at most 5 s.

        Raises:
            Stopped: the service was told to stop.
            StillAway: nobody waits any longer.
        """
        self.begin(why)
        self._give_up(why)
        if self._readiness is not None and self._readiness.stopping.is_set():
            raise Stopped
        await self._clock.sleep(min(LONGEST_PAUSE_S, self._backoff.next_s()))

    def _give_up(self, why: BaseException | str) -> None:
        if self._patience_s is None or self._since_ns is None:
            return
        if self._clock.monotonic_ns() - self._since_ns >= self._patience_s * 1e9:
            raise StillAway(
                f"the {self._dependency} cannot be worked with",
                expected=f"an answer within {self._patience_s:g} s",
                actual=_said(why),
                remedy="start it, or correct its address; on a busy machine, look at its log and try again",
            ) from (None if isinstance(why, str) else why)

    @contextlib.contextmanager
    def _heard(self) -> Iterator[None]:
        """Something is asked; silence for too long is an outage too."""
        if self._silent_s is None:
            yield
            return
        silent = asyncio.get_running_loop().call_later(
            self._silent_s, self.begin, f"no answer for {self._silent_s:g} s"
        )
        try:
            yield
        finally:
            silent.cancel()

    async def through(self, attempt: Callable[[], Awaitable[T]], is_away: Callable[[BaseException], bool]) -> T:
        """The result of an attempt that is repeated for as long as it fails because the dependency is away.

        Args:
            is_away: whether a failure means that; every other one is raised.
        """
        while True:
            try:
                with self._heard():
                    result = await attempt()
            except Exception as error:
                if not is_away(error):
                    self.over()  # it has answered
                    raise
                await self.wait(error)
            else:
                self.over()
                return result


def _said(why: BaseException | str) -> str:
    """A failure in words; some, such as a timeout, have none of their own."""
    if isinstance(why, str):
        return why
    return f"{type(why).__name__}: {why}" if str(why) else type(why).__name__
