"""Whether a service can do its work, and if not, what it waits for and since when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from tapelab.common.clock import Clock

_NAMES: Final = {"broker": "the broker", "postgres": "PostgreSQL", "redis": "Redis"}


class Readiness:
    """The states a service passes through, for people and for probes.

    It is ready when it has said so, waits for nothing and recovers no partition. What it waits for and what
    it recovers end independently of each other, so a broker that goes away while partitions are recovered
    leaves both to be seen.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._not_ready: str | None = "starting"
        self._detail = ""
        self._waits: dict[str, tuple[int, str]] = {}
        self._recovering: dict[int, int] = {}
        self._since_ns = clock.now_ns()
        self.was_ready = False

    def set(self, reason: str | None, detail: str = "") -> None:
        """Say whether the service itself is done with its start: None, or why not."""
        if (reason is None) != (self._not_ready is None):
            self._since_ns = self._clock.now_ns()
        self._not_ready = reason
        self._detail = detail
        self.was_ready = self.was_ready or reason is None

    def wait_for(self, what: str, why: str) -> None:
        """Something the service needs does not answer; the first call of an outage says since when."""
        since_ns = self._waits[what][0] if what in self._waits else self._clock.now_ns()
        self._waits[what] = (since_ns, why)

    def answered(self, what: str) -> bool:
        """It answers; True if somebody waited for it."""
        return self._waits.pop(what, None) is not None

    def recovering(self, partitions: Iterable[int]) -> None:
        """The state of these partitions is being restored."""
        now_ns = self._clock.now_ns()
        self._recovering.update((p, now_ns) for p in partitions if p not in self._recovering)

    def recovered(self, partitions: Iterable[int]) -> None:
        """These partitions are at work, or no longer this process's."""
        for partition in partitions:
            self._recovering.pop(partition, None)

    @property
    def ready(self) -> bool:
        """Whether it can do its work."""
        return self._not_ready is None and not self._waits and not self._recovering

    @property
    def state(self) -> str:
        """``starting``, ``waiting``, ``recovering`` or ``ready``."""
        if self._waits:
            return "waiting"
        if self._recovering:
            return "recovering"
        if self._not_ready is None:
            return "ready"
        return "waiting" if self.was_ready else "starting"

    @property
    def detail(self) -> str:
        """One line for people: what it waits for, or what there is to add."""
        now_ns = self._clock.now_ns()
        said = [
            f"waiting for {_NAMES.get(what, what)} for {(now_ns - since_ns) / 1e9:.0f} s: {why}"
            for what, (since_ns, why) in sorted(self._waits.items())
        ]
        if self._recovering:
            named = ", ".join(map(str, sorted(self._recovering)))
            longest_s = (now_ns - min(self._recovering.values())) / 1e9
            said.append(f"recovering partitions {named} for {longest_s:.1f} s")
        said += [text for text in (self._not_ready or self._detail,) if text]
        return "; ".join(said)

    def page(self) -> dict[str, Any]:
        """What ``/readyz`` says beside the service's name."""
        return {
            "ready": self.ready,
            "state": self.state,
            "detail": self.detail,
            "since": _utc(self._since_ns),
            "waiting_for": {w: {"since": _utc(ns), "why": why} for w, (ns, why) in sorted(self._waits.items())},
            "recovering": sorted(self._recovering),
        }


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
