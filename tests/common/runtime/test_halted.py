"""A halt is told once and lasts until a higher stream."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from tapelab.common import topics
from tapelab.common.codec import Identity
from tapelab.common.runtime.halted import HaltedSymbols
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.sequence import Sequencer, halted_stream
from tapelab.common.runtime.stage import Output, Step
from tests.contracts.records import vector


def message(stream: int, offset: int, lineage: str = "a") -> str:
    """As the reader's rule says it of a hole."""
    sequencer = Sequencer(topics.BARS)
    who = Identity("AAA", stream, lineage)
    sequencer.admit(who, 0, 1, partition=0, offset=offset - 1)
    return sequencer.admit(who, 5, 6, partition=0, offset=offset).message


def step(halts: dict[str, str] | None = None, *streams: int) -> Step:
    made: list[Any] = [msgspec.structs.replace(vector(), symbol="AAA", stream=stream) for stream in streams]
    return Step([Output(topics.FEATURES, record, 0) for record in made], [], halts or {}, {})


def test_the_message_names_the_stream() -> None:
    assert halted_stream(message(17, 3)) == 17
    assert halted_stream("something else") == -1


def test_a_halt_beside_another_lineages_outputs_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    log = logging.getLogger("tapelab.test.halted")
    halted = HaltedSymbols(0, StageMetrics("features", registry), log)

    def count() -> float | None:
        return registry.get_sample_value("tapelab_halted_symbols", {"stage": "features", "partition": "0"})

    first, other = message(1, 7), message(1, 9, "b")
    with caplog.at_level(logging.ERROR, log.name):
        for _ in range(3):
            halted.update([], step({"AAA": first}))
            assert count() == 1
            halted.update([], step(None, 1))  # its other lineage goes on
            assert count() == 1
            halted.update([], step({"AAA": first}, 1))
        assert [record.message for record in caplog.records] == [first]
        halted.update([], step({"AAA": other}))
        assert len(caplog.records) == 2
        halted.update([], step(None, 2))
        assert count() == 0
        halted.update([], step({"AAA": message(2, 20)}))
        assert count() == 1
        assert len(caplog.records) == 3
