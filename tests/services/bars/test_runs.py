"""Batches that wait together and are computed in one call give what they give one by one, in the same order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapelab.bars import runs
from tapelab.bars.stage import BarsStage
from tapelab.common.codec import encode
from tapelab.common.pipeline import Pipeline
from tapelab.common.runtime.stage import Record, Step
from tests.quant.bars.tapes import seeded
from tests.services.bars.test_stage import INSTRUMENTS, Log

pytestmark = pytest.mark.slow

TAPE = seeded(2_000, seed=9)
SPECS = ("tick:7", "volume:50", "dollar:20000")


def made(steps: list[tuple[int, Step]]) -> tuple[list[Any], list[Any]]:
    """Outputs with the record that caused each, and what was dead or counted."""
    outputs = [(base + o.cause, o.topic, encode(o.record)) for base, step in steps for o in step.outputs]
    counts: dict[str, int] = {}
    for _, step in steps:
        for kind, count in step.counts.items():
            counts[kind] = counts.get(kind, 0) + count
    dead = [(base + d.cause, d.reason) for base, step in steps for d in step.dead]
    return outputs, [counts, dead]


def interleaved(cuts: list[int], events: list[str]) -> list[Record]:
    """Two symbols by turns over the same tape (several sessions), with whatever happens between batches."""
    log = Log()
    edges = [0, *sorted(set(cuts)), TAPE.n]
    for at, (start, stop) in enumerate(itertools.pairwise(edges)):
        for symbol in ("WINZ24", "WINF25"):
            log.batch(TAPE.slice(start, stop), start, symbol=symbol)
        event = events[at % len(events)]
        if event == "again":
            log.batch(TAPE.slice(max(0, start - 5), stop), max(0, start - 5))
        elif event == "poison":
            log.raw(b"\xc1")
        elif event == "lost":
            log.raw(b"\xc1", "WINF25")
            log.batch(TAPE.slice(0, 3), stop + 10, symbol="WINF25")
        elif event == "marker":
            log.marker(stop, 1)
    return log.records


@given(
    cuts=st.lists(st.integers(1, TAPE.n - 1), min_size=1, max_size=40),
    events=st.lists(st.sampled_from(["", "again", "poison", "lost", "marker"]), min_size=1, max_size=6),
    specs=st.sampled_from([SPECS, (*SPECS, "time:10m")]),
    step=st.integers(1, 60),
    most=st.sampled_from([100, 900, runs.MOST_PRINTS]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_step_over_many_records_is_the_steps_over_each(
    cuts: list[int], events: list[str], specs: tuple[str, ...], step: int, most: int
) -> None:
    records = interleaved(cuts, events)
    pipeline = Pipeline(bars=specs, features=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "MOST_PRINTS", most)
        together, apart = BarsStage(0, pipeline, INSTRUMENTS), BarsStage(0, pipeline, INSTRUMENTS)
        in_steps = [(at, together.process(records[at : at + step])) for at in range(0, len(records), step)]
        one_by_one = [(at, apart.process([record])) for at, record in enumerate(records)]
    assert made(in_steps) == made(one_by_one)
    assert together.freeze()() == apart.freeze()()
    assert len(made(in_steps)[0]) > 100
