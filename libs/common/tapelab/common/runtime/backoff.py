"""How long to wait before trying again: longer each time, never in step with others."""

from __future__ import annotations

import random
from typing import Final

FIRST_S: Final = 0.1
LAST_S: Final = 5.0


class Backoff:
    """Doubles from ``FIRST_S`` to ``LAST_S``; each wait is a random half to whole of that.

    Args:
        rng: seeded by whoever waits, so that services that lost the same broker do not return together.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next_s = FIRST_S

    def next_s(self) -> float:
        """Seconds to wait now."""
        whole = self._next_s
        self._next_s = min(LAST_S, whole * 2)
        return whole * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: the next trouble begins with a short wait."""
        self._next_s = FIRST_S
