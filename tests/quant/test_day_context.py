"""What crosses days is a function of the last complete days, and no other way leads from one to the next."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tapelab.quant.day_context import BINS, DAYS, DayContext, day_context
from tapelab.quant.dtypes import BarFlag
from tapelab.quant.features import FEATURE_SETS, FeatureEngine, FeatureSet, compute_features
from tapelab.quant.features.seasonal import SPECS
from tests.quant.features.bars import TICK, make_bars

PER_DAY = 120
SEASONAL = FeatureSet(name="seasonal", specs=SPECS)


def summed(day: Any) -> Any:
    """A day's sums by part of the session, the plain way."""
    length = day["session_close_ns"] - day["session_open_ns"]
    parts = np.minimum(BINS - 1, (day["ts_close_ns"] - day["session_open_ns"]) / length * BINS).astype(int)
    return np.stack([np.bincount(parts, day[name], BINS) for name in ("n", "realised_var")])


def test_the_context_is_the_sums_of_the_last_complete_days() -> None:
    bars = make_bars(1, PER_DAY, days=8)
    days = bars.reshape(8, PER_DAY)
    np.testing.assert_allclose(day_context(bars).days, [summed(day) for day in days[-DAYS:]], rtol=1e-12)
    np.testing.assert_allclose(day_context(bars[: 2 * PER_DAY + 30]).days, [summed(day) for day in days[:2]])


def test_a_live_engine_carries_the_bits_that_the_days_alone_give() -> None:
    bars = make_bars(2, PER_DAY, days=9)
    engine = FeatureEngine(FEATURE_SETS["full_days"], TICK)
    for i in range(0, len(bars), 37):
        engine.update(bars[i : i + 37])
    carried = engine.context
    assert carried is not None
    assert carried.days.tobytes() == day_context(bars[-DAYS * PER_DAY :]).days.tobytes()
    whole = compute_features(bars, SEASONAL, TICK).values[-PER_DAY:]
    alone = compute_features(bars[-PER_DAY:], SEASONAL, TICK, day_context(bars[-(DAYS + 1) * PER_DAY : -PER_DAY]))
    assert whole.tobytes() == alone.values.tobytes()


def test_a_day_with_a_gap_a_late_start_or_no_end_does_not_count() -> None:
    bars = make_bars(3, PER_DAY, days=4)
    bars["flags"][50] |= BarFlag.AFTER_GAP
    kept = np.delete(bars, [*range(PER_DAY, PER_DAY + 40), 3 * PER_DAY - 1])
    assert len(day_context(bars).days) == 3
    np.testing.assert_allclose(day_context(kept).days, [summed(bars[3 * PER_DAY :])], rtol=1e-12)


def test_the_features_are_the_stated_ratios() -> None:
    bars = make_bars(4, PER_DAY, days=3)
    past, today = [summed(day) for day in bars.reshape(3, PER_DAY)[:2]], bars[2 * PER_DAY :]
    rows = compute_features(bars, SEASONAL, TICK).values
    assert not rows[:PER_DAY].any()
    for i in (0, 17, PER_DAY - 1):
        bar, length_s = today[i], 9 * 3600.0
        part = min(BINS - 1, int((bar["ts_close_ns"] - bar["session_open_ns"]) / (length_s * 1e9) * BINS))
        window_s = min(300.0, (bar["ts_close_ns"] - bar["session_open_ns"]) * 1e-9)
        usual = np.mean(past, axis=0)[:, part] * window_s / (length_s / BINS)
        floor = 10.0 * (TICK / bar["close"]) ** 2
        yesterday = past[1][1].sum() * window_s / length_s
        expected = [
            math.log((bar["n_5m"] + 60.0) / (usual[0] + 60.0)),
            math.log((bar["rv_5m"] + floor) / (usual[1] + floor)),
            math.log((bar["rv_5m"] + floor) / (yesterday + floor)),
        ]
        np.testing.assert_allclose(rows[2 * PER_DAY + i], np.clip(expected, -5.0, 5.0), rtol=1e-6)


def test_a_day_like_those_before_is_usual_from_its_first_minute() -> None:
    bars = make_bars(7, PER_DAY, days=3)
    since_s = 27.0 * np.tile(np.arange(1, PER_DAY + 1), 3)
    # A bar every 27 s from the open on, two prints a second.
    bars["ts_close_ns"] = bars["session_open_ns"] + (since_s * 1e9).astype(np.int64)
    bars["ts_open_ns"] = bars["ts_close_ns"] - 27_000_000_000
    bars["n"], bars["n_5m"] = 54, 2.0 * np.minimum(since_s, 300.0)
    early = compute_features(bars, SEASONAL, TICK).values[2 * PER_DAY :][:10, 0]
    assert np.abs(early).max() < 0.1


def test_the_running_day_is_never_in_its_own_profile() -> None:
    bars = make_bars(5, PER_DAY, days=3)
    changed = bars.copy()
    changed["realised_var"][2 * PER_DAY :] *= 100.0
    changed["n"][2 * PER_DAY :] *= 100
    same = [compute_features(each, SEASONAL, TICK).values for each in (bars, changed)]
    assert same[0].tobytes() == same[1].tobytes()


def test_a_new_stream_forgets_the_days() -> None:
    bars = make_bars(6, PER_DAY, days=2)
    engine = FeatureEngine(SEASONAL, TICK)
    engine.update(bars[:PER_DAY])
    engine.new_stream()
    assert (
        engine.update(bars[PER_DAY:]).values.tobytes() == compute_features(bars[PER_DAY:], SEASONAL, TICK)[0].tobytes()
    )


def test_a_set_that_reads_no_days_has_no_context() -> None:
    assert FeatureEngine(FEATURE_SETS["core"], TICK, day_context(make_bars(1, PER_DAY))).context is None


def test_a_context_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 5, 2, 48\), got shape \(6, 2, 48\)"):
        FeatureEngine(SEASONAL, TICK, DayContext(np.zeros((DAYS + 1, 2, BINS))))
    with pytest.raises(ValueError, match="BAR_DTYPE"):
        day_context(np.zeros(3))
