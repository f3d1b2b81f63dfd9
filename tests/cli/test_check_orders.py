"""The prefix test of passive orders finds a queue that knows the future, and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapelab.cli.check.orders import moved_fills, passive_fills
from tapelab.trainer import orders
from tapelab.trainer.etl import compute
from tests.services.trainer.data import config, instruments, loaded


def moved(share: float) -> np.ndarray:
    """Bars whose orders are filled otherwise before a cut, once the prints after it have other lots."""
    item = loaded()[0]
    k = int(item.ticks.n * share)
    volume = item.ticks.volume.copy()
    volume[k:] *= 5.0
    changed = item._replace(ticks=item.ticks._replace(volume=volume))
    found = []
    for one in (item, changed):
        data = compute(one, config(), instruments())
        expected = data.features.values[:, 0].astype(np.float64) * 1e-2
        found.append((data, passive_fills(one, data, expected, config(), instruments())))
    (data, before), (_, after) = found
    settled = int(np.sum(before["filled_ts_ns"] < item.ticks.ts_event_ns[k - 200]))
    assert settled > 10
    return moved_fills(before, after, int(before["print"][settled]), len(data.bars))


def test_fills_before_a_cut_stay() -> None:
    assert not moved(0.5).any()


def test_a_queue_that_knows_the_next_bar_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = orders.lots_ahead

    def peeking(queue: str, volume: Any, n: Any) -> Any:
        return np.roll(honest(queue, volume, n), -20)

    monkeypatch.setattr(orders, "lots_ahead", peeking)
    assert moved(0.5).any()
