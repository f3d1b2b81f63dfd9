"""A histogram for hot paths: no lock and no call per bucket.

The client library's own takes two locks for each observation, and a garbage collection may start while they
are held: a callback of the collector that observes would then wait for itself. Here an observation is a search
and two additions. One thread writes; the scraping thread reads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class Distribution:
    """Counts per bucket, and the sum."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, as often as it occurred."""
        at = bisect_left(self._bounds, value)
        self._counts[at] += times
        self._total += value * times

    @property
    def count(self) -> int:
        """Values observed."""
        return sum(self._counts)

    @property
    def total(self) -> float:
        """Their sum."""
        return self._total

    def above(self, bound: float) -> int:
        """Values observed in the buckets above a bound."""
        return sum(self._counts[bisect_left(self._bounds, bound) + 1 :])

    def cumulative(self) -> list[tuple[str, float]]:
        """Buckets as Prometheus has them: each holds those below it."""
        names = (*(str(bound) for bound in self._bounds), "+Inf")
        return list(zip(names, accumulate(self._counts), strict=True))


class FastHistogram(Collector):
    """A named histogram with at most one level of labels.

    Args:
        name: with its unit, as Prometheus names it.
        text: what it says.
        labels: names of the labels.
        bounds: upper bounds of the buckets, ascending.
        registry: where it is exported.
    """

    def __init__(
        self, name: str, text: str, labels: Sequence[str] = (), *, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._text = text
        self._label_names = tuple(labels)
        self._bounds = tuple(float(bound) for bound in bounds)
        self._children: dict[tuple[str, ...], Distribution] = {}
        registry.register(self)

    def labels(self, *values: str) -> Distribution:
        """The distribution of some label values; keep it instead of asking again."""
        if len(values) != len(self._label_names):
            raise ValueError(f"{self._name}: expected values of {self._label_names}, got {values}")
        return self._children.setdefault(values, Distribution(self._bounds))

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Name and labels without figures."""
        return [HistogramMetricFamily(self._name, self._text, labels=self._label_names)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The figures now."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._label_names)
        for values, child in list(self._children.items()):
            family.add_metric(values, child.cumulative(), child.total)
        return [family]
