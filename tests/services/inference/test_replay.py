"""Signals are a function of vectors and context: not of batches, not of restarts."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.common.codec import encode
from tapelab.common.runtime.stage import Record, Step
from tapelab.inference.stage import InferenceStage
from tests.services.inference.vectors import bound, context, records, run, vector

CONTEXT = context(
    bound(), bound("challenger", decision={"cooldown_ns": 0, "threshold": 0.0}), halts={"CCC": "for the test"}
)


def tape(seed: int, n: int = 120) -> list[Record]:
    """Vectors of three symbols with gaps, cold spots, session ends, poison, doubles, and a second stream."""
    rng = np.random.default_rng(seed)
    seqs = {"AAA": 0, "BBB": 0, "CCC": 0}
    made: list = []
    for i in range(n):
        symbol = ("AAA", "BBB", "CCC")[rng.integers(3)]
        stream = 1 if i < 2 * n // 3 else 2
        if i == 2 * n // 3:
            seqs = dict.fromkeys(seqs, 0)
        made.append(
            vector(
                seqs[symbol],
                float(rng.choice([0.2, 0.4, 0.5, 0.6, 0.8])),
                at_s=i * 0.7 + (0 if stream == 1 else -20),
                symbol=symbol,
                stream=stream,
                warm=bool(rng.random() > 0.05),
                after_gap=bool(rng.random() < 0.05),
                session_end=bool(rng.random() < 0.03),
            )
        )
        seqs[symbol] += 1
        if rng.random() < 0.05:
            made.append(made[-1])
        if rng.random() < 0.02:
            made.append(b"poison")
            seqs["AAA"] += 1
    return records(made)


def bytes_of(steps: list[Step]) -> list[bytes]:
    return [encode(output.record) for step in steps for output in step.outputs]


def in_batches(stage: InferenceStage, log: list[Record], cuts: list[int]) -> list[Step]:
    edges = [0, *sorted(set(cuts)), len(log)]
    return [run(stage, log[a:b], CONTEXT) for a, b in itertools.pairwise(edges) if b > a]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(1, 119), max_size=12))
def test_any_batching_gives_the_same_signals_and_the_same_state(seed: int, cuts: list[int]) -> None:
    log = tape(seed)
    whole, parts, singly = InferenceStage(0), InferenceStage(0), InferenceStage(0)
    expected = bytes_of([run(whole, log, CONTEXT)])
    assert len(expected) > 5
    assert bytes_of(in_batches(parts, log, cuts)) == expected
    assert bytes_of(in_batches(singly, log, list(range(1, len(log))))) == expected
    assert whole.snapshot() == parts.snapshot() == singly.snapshot()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(1, 118), length=st.integers(1, 40))
def test_a_batch_decided_again_from_its_snapshot_gives_the_same_bytes(seed: int, cut: int, length: int) -> None:
    log = tape(seed)
    stage = InferenceStage(0)
    run(stage, log[:cut], CONTEXT)
    before = stage.snapshot()
    first = bytes_of([run(stage, log[cut : cut + length], CONTEXT)])
    again = InferenceStage(0)
    again.restore(before)
    assert again.snapshot() == before
    assert bytes_of([run(again, log[cut : cut + length], CONTEXT)]) == first
    assert again.snapshot() == stage.snapshot()
