"""The lock-free histogram says the same as the client library's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from tapelab.common.runtime.histogram import FastHistogram

BOUNDS = (0.001, 0.01, 0.1, 1.0)


@given(st.lists(st.one_of(st.sampled_from(BOUNDS), st.floats(0, 3)), max_size=30))
def test_it_exports_what_the_librarys_own_exports(values: list[float]) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    slow = Histogram("tapelab_x_seconds", "X.", ("stage",), buckets=BOUNDS, registry=theirs).labels("bars")
    fast = FastHistogram("tapelab_x_seconds", "X.", ("stage",), bounds=BOUNDS, registry=ours).labels("bars")
    for value in values:
        slow.observe(value)
        fast.observe(value)
    expected = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(ours).decode().splitlines() == expected


def test_a_value_may_count_several_times() -> None:
    fast = FastHistogram("tapelab_x_seconds", "X.", bounds=BOUNDS, registry=CollectorRegistry()).labels()
    fast.observe(0.05, 3)
    assert (fast.count, fast.above(0.01), fast.above(0.1)) == (3, 3, 0)
    assert fast.total == pytest.approx(0.15)


def test_labels_must_fit() -> None:
    histogram = FastHistogram("tapelab_x_seconds", "X.", ("stage",), bounds=BOUNDS, registry=CollectorRegistry())
    with pytest.raises(ValueError, match="expected values of"):
        histogram.labels()
