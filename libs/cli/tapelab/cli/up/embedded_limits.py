"""When a run has become too long for the embedded broker, which forgets nothing and slows down with its log."""

from __future__ import annotations

from typing import Any, Final

#: Beyond so much memory the user is told ...
MEMORY_BYTES: Final = 2 << 30
#: ... and when half of the newest signals take longer than the product means them to.
SLOW_MS: Final = 1000.0
#: The first signals of a run also wait for what is loaded and compiled.
_ENOUGH_SIGNALS: Final = 200
_REMEDY: Final = "use BROKER=kafka for long runs"


class EmbeddedLimits:
    """Looks at a run now and then and says once of each limit that it is reached."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def reached(self, memory_bytes: int, status: dict[str, Any] | None) -> list[str]:
        """What there is to say.

        Args:
            memory_bytes: of the broker's process.
            status: the gateway's data status, None while there is none.
        """
        found: dict[str, str] = {}
        if memory_bytes > MEMORY_BYTES:
            found["memory"] = (
                f"the embedded broker keeps its log in memory and now holds {MEMORY_BYTES >> 30} GiB; {_REMEDY}"
            )
        latency: dict[str, Any] = {"n": 0, "p50": None} if status is None else status["latency_ms"]
        if latency["n"] >= _ENOUGH_SIGNALS and latency["p50"] >= SLOW_MS:
            found["latency"] = (
                f"half of the newest signals take longer than {latency['p50'] / 1e3:.1f} s: the embedded broker gets "
                f"slower as its log grows; {_REMEDY}"
            )
        fresh = [text for limit, text in found.items() if limit not in self._said]
        self._said |= found.keys()
        return fresh
