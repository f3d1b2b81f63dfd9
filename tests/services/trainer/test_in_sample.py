"""Which bars of a backtest the model was made from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tapelab.trainer.backtest import in_sample
from tapelab.trainer.manifest import event_times
from tests.services.trainer.data import symbols


@pytest.mark.parametrize(
    ("symbol", "training", "share"),
    [
        ("A", {"event_times": {"A": [10, 30]}}, 0.75),
        ("A", {"event_times": {"A": [31, 40]}}, 0.25),
        ("B", {"event_times": {"A": [0, 100]}}, 0.0),
        ("A", {}, None),
    ],
)
def test_the_share_of_bars_within_the_training_of_the_same_symbol(
    symbol: str, training: dict[str, Any], share: float | None
) -> None:
    manifest: Any = SimpleNamespace(training=training)
    assert in_sample(manifest, symbol, np.array([10, 20, 30, 31])) == share


def test_every_bar_of_the_training_lies_within_its_event_times() -> None:
    manifest: Any = SimpleNamespace(training={"event_times": event_times(symbols())})
    for data in symbols():
        assert in_sample(manifest, data.span.symbol, data.bars["ts_close_ns"]) == 1.0
        later = data.bars["ts_close_ns"] + int(np.ptp(data.bars["ts_close_ns"])) + 1
        assert in_sample(manifest, data.span.symbol, later) == 0.0
