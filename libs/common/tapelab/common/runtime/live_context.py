"""The context decisions are made under: loaded off the hot path, changed between two batches."""

from __future__ import annotations

import logging
from typing import Final

from tapelab.common.clock import Clock
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.stage import Scorer

EVERY_S: Final = 0.2


class LiveContext:
    """Follows a scorer's context; ``current`` is prepared and holds until another one is."""

    def __init__(self, scorer: Scorer, clock: Clock, log: logging.Logger) -> None:
        self._scorer = scorer
        self._clock = clock
        self._log = log
        self.current = b""

    async def start(self) -> None:
        """Prepare the first one.

        Raises:
            TapelabError: it cannot be prepared.
        """
        self.current = await self._scorer.context()
        await self._scorer.prepare(self.current)

    async def follow(self) -> None:
        """Load what a new context names; it holds from the next micro-batch on."""
        refused = b""
        while True:
            await self._clock.sleep(EVERY_S)
            context = await self._scorer.context()
            if context in (self.current, refused):
                continue
            try:
                await self._scorer.prepare(context)
            except TapelabError as error:
                refused = context
                self._log.error(f"staying with the models in use: {error}")
                continue
            self.current = context
