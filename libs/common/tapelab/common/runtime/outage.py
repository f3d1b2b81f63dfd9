"""Something that a service depends on is away: tell it once, try again with growing pauses, tell when it is back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tapelab.common.clock import Clock

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0

T = TypeVar("T")
#: Told what is away and why (``None``: it is back); :meth:`ServiceContext.trouble` is one.
Tell = Callable[[str, str | None], None]


def _nobody(about: str, text: str | None) -> None:
    """For callers without a readiness."""


class Outage:
    """One dependency of a service, and whether it is away.

    Args:
        about: its name for people, such as ``broker``.
        clock: waits between two attempts.
        log: is told once when the outage begins and once when it ends.
        tell: told the same, for the readiness.
    """

    def __init__(self, about: str, clock: Clock, log: logging.Logger, tell: Tell | None = None) -> None:
        self._about = about
        self._clock = clock
        self._log = log
        self._tell = tell or _nobody
        self._since_ns: int | None = None
        self._pause_s = FIRST_PAUSE_S

    @property
    def away(self) -> bool:
        """Whether it is away as far as is known."""
        return self._since_ns is not None

    def begin(self, why: BaseException | str) -> None:
        """It does not answer."""
        if self._since_ns is None:
            self._since_ns = self._clock.monotonic_ns()
            text = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
            self._log.warning(f"{self._about} is away ({text}); waiting for it")
            self._tell(self._about, f"{self._about} is away: {text}")

    def over(self) -> None:
        """It answers."""
        self._pause_s = FIRST_PAUSE_S
        if self._since_ns is not None:
            seconds = (self._clock.monotonic_ns() - self._since_ns) / 1e9
            self._since_ns = None
            self._log.info(f"{self._about} is back", extra={"fields": {"away_s": round(seconds, 3)}})
            self._tell(self._about, None)

    async def wait(self, why: BaseException | str) -> None:
        """Pause before the next attempt: 0.1 s, twice as long each time, at most 5 s."""
        self.begin(why)
        pause_s, self._pause_s = self._pause_s, min(LONGEST_PAUSE_S, self._pause_s * 2)
        await self._clock.sleep(pause_s)

    async def through(self, attempt: Callable[[], Awaitable[T]], is_away: Callable[[BaseException], bool]) -> T:
        """The result of an attempt that is repeated for as long as it fails because the dependency is away.

        Args:
            is_away: whether a failure means that; every other one is raised.
        """
        while True:
            try:
                result = await attempt()
            except Exception as error:
                if not is_away(error):
                    raise
                await self.wait(error)
            else:
                self.over()
                return result
