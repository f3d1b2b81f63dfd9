"""One model call per role for all symbols and partitions of a micro-batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Histogram

from tapelab.common.clock import Clock
from tapelab.common.storage.pointers import ROLES
from tapelab.inference.admission import Admitted
from tapelab.inference.context import View, view_of
from tapelab.inference.models import Models
from tapelab.inference.source import ContextSource
from tapelab.inference.stage import matches

_SECONDS = (0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0)

BatchScores = dict[str, npt.NDArray[np.float64]]


class InferenceScorer:
    """Scores vectors by what a context names; a model that holds both roles is called once."""

    def __init__(self, models: Models, source: ContextSource, clock: Clock, registry: CollectorRegistry) -> None:
        self._models = models
        self._source = source
        self._clock = clock
        self._scored = Counter("tapelab_scores", "Vectors scored.", ("model",), registry=registry)
        self._seconds = Histogram(
            "tapelab_model_call_seconds", "Time one model call took.", ("model",), buckets=_SECONDS, registry=registry
        )

    def score(self, context: bytes, admitted: Sequence[Admitted]) -> list[BatchScores]:
        """Scores by model digest, one mapping per batch; NaN where a model does not fit a vector."""
        view = view_of(context)
        scores: list[BatchScores] = [{} for _ in admitted]
        for digest, places in _places(view, admitted).items():
            model = self._models[digest]
            raw = b"".join([admitted[batch].items[row].vector.values for batch, row in places])
            started = self._clock.monotonic_ns()
            symbols = [admitted[batch].items[row].vector.symbol for batch, row in places]
            predicted = model.predict(np.frombuffer(raw, "<f4").reshape(len(places), -1), symbols)
            name = model.manifest.model_id
            self._seconds.labels(name).observe((self._clock.monotonic_ns() - started) / 1e9)
            self._scored.labels(name).inc(len(places))
            for (batch, row), score in zip(places, predicted, strict=True):
                if digest not in scores[batch]:
                    scores[batch][digest] = np.full(len(admitted[batch].items), np.nan)
                scores[batch][digest][row] = score
        return scores

    async def context(self) -> bytes:
        """What Redis said last; it never waits for Redis."""
        return self._source.current

    async def prepare(self, context: bytes) -> None:
        """Load what a context names.

        Raises:
            ModelMismatch: a model of a recorded context is gone; it was live once, so its files must exist.
        """
        for bound in view_of(context).pointers:
            await self._models.load(bound.digest)


def _places(view: View, admitted: Sequence[Admitted]) -> dict[str, list[tuple[int, int]]]:
    """Which rows each model scores, as (batch, row)."""
    places: dict[str, list[tuple[int, int]]] = {}
    for batch, vectors in enumerate(admitted):
        for row, item in enumerate(vectors.items):
            vector = item.vector
            digests: dict[str, None] = {}
            for role in ROLES:
                bound = view.bound(role, vector.symbol)
                if bound is not None and matches(bound, vector) and 4 * bound.n_features == len(vector.values):
                    digests[bound.digest] = None
            for digest in digests:
                places.setdefault(digest, []).append((batch, row))
    return places
