"""A Stage is a pure step over a partition's log; a Host gives it life.

A stage sees records and returns records. It knows no Kafka, no clock and no file, so the same object
runs live, in tests and in the offline recomputation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from tapelab.common.codec import MarketRecord


class Record(NamedTuple):
    """One record of an input topic as it was read. ``topic`` is without the namespace.

    ``misplaced`` says that its key belongs to another partition.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int = 0
    misplaced: bool = False


class Output(NamedTuple):
    """A record to write. ``cause`` is the index of the input record that completed it."""

    topic: str
    record: MarketRecord
    cause: int


class Dead(NamedTuple):
    """An input record that cannot be processed. ``cause`` is its index."""

    cause: int
    reason: str


class Step(NamedTuple):
    """What a stage made of a batch.

    ``halts`` names symbols that stopped, with the message a person should read. ``counts`` are added to
    the host's counters (duplicates dropped, prints skipped, ...).
    """

    outputs: list[Output]
    dead: list[Dead]
    halts: dict[str, str]
    counts: dict[str, int]


class Stage(Protocol):
    """One partition's pure, deterministic step with carried state."""

    def process(self, records: Sequence[Record]) -> Step:
        """Take the next records of the log and return what follows from them."""
        ...

    def freeze(self) -> Callable[[], bytes]:
        """The whole state as of now; what is returned makes its bytes, a function of the input so far.

        That is done in another thread, while the stage goes on.
        """
        ...

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot.

        Raises:
            RecoveryError: the snapshot belongs to another configuration.
        """
        ...


class Vectors(Protocol):
    """Input that a decision stage has admitted: a matrix to score, and whatever it needs to decide."""

    @property
    def features(self) -> Any:
        """float32 array of shape ``(n, n_features)``."""
        ...


class DecisionStage(Protocol):
    """One partition's deciding step: admit, then decide with scores that were computed for all at once."""

    def admit(self, records: Sequence[Record]) -> Any:
        """Take the next records of the log and return what is to be scored; changes only reading state."""
        ...

    def decide(self, admitted: Any, scores: Any, context: bytes) -> Step:
        """Decide every admitted vector in order, under the given context (models, thresholds, halts)."""
        ...

    def snapshot(self) -> bytes:
        """The whole state as bytes."""
        ...

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot."""
        ...


class Scorer(Protocol):
    """Scores the admitted vectors of all partitions with one model call."""

    def score(self, context: bytes, admitted: Sequence[Any]) -> list[Any]:
        """One scores object per admitted batch, in order."""
        ...

    async def context(self) -> bytes:
        """The context that holds from now on: model pointers, thresholds, halts; canonical bytes."""
        ...

    async def prepare(self, context: bytes) -> None:
        """Load and warm what a context names, off the hot path."""
        ...
