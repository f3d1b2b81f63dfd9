"""Features do not depend on how bars arrive, never look ahead, and are always finite."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.day_context import day_context
from tapelab.quant.dtypes import BAR_DTYPE, BarFlag
from tapelab.quant.features import (
    FEATURE_SETS,
    FeatureBank,
    FeatureEngine,
    FeatureRows,
    FeatureSet,
    Normaliser,
    compute_features,
)
from tapelab.quant.features.reference import reference_features
from tests.quant.features.bars import TICK, make_bars

CORE = FEATURE_SETS["core"]
FULL = FEATURE_SETS["full"]
#: Short windows, so that few bars go round them many times.
QUICK = FeatureSet(name="quick", specs=CORE.specs, normaliser=Normaliser(window=7, minimum=3))
QUICK_FULL = FeatureSet(name="quick_full", specs=FULL.specs, normaliser=Normaliser(window=7, minimum=3))
SETS = list(FEATURE_SETS.values())
by_set = pytest.mark.parametrize("feature_set", SETS, ids=[each.name for each in SETS])
FLOATS = [name for name in BAR_DTYPE.names or () if BAR_DTYPE[name] == np.float64]

seeds = st.integers(0, 2**32 - 1)


def assert_same(left: FeatureRows, right: FeatureRows) -> None:
    assert left.values.tobytes() == right.values.tobytes()
    np.testing.assert_array_equal(left.warm, right.warm)
    np.testing.assert_array_equal(left.after_gap, right.after_gap)


def joined(parts: list[FeatureRows]) -> FeatureRows:
    return FeatureRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@st.composite
def tapes(draw: st.DrawFn) -> Any:
    """One to three days with gaps, quiet stretches and missing agents."""
    days = draw(st.integers(1, 3))
    bars = make_bars(draw(seeds), draw(st.integers(1, 130 // days)), days=days, agents=draw(st.booleans()))
    for at in draw(st.lists(st.integers(0, len(bars) - 1), max_size=2)):
        bars["flags"][at] |= BarFlag.AFTER_GAP
    if draw(st.booleans()):
        start = draw(st.integers(0, len(bars) - 1))
        quiet = bars[start : start + draw(st.integers(1, 80))]
        for name in ("open", "high", "low", "close", "vwap"):
            quiet[name] = bars["close"][start]
        for name in ("buy_volume", "sell_volume", "realised_var", "rv_30s", "rv_5m", "ret_5s", "dt_mean_s"):
            quiet[name] = 0.0
    return bars


@settings(max_examples=20, deadline=None)
@given(tapes(), st.sampled_from([CORE, QUICK, FULL, QUICK_FULL]))
def test_the_kernel_agrees_with_the_reference(bars: Any, feature_set: FeatureSet) -> None:
    fast, slow = compute_features(bars, feature_set, TICK), reference_features(bars, feature_set, TICK)
    np.testing.assert_array_equal(fast.warm, slow.warm)
    np.testing.assert_array_equal(fast.after_gap, slow.after_gap)
    for j, name in enumerate(feature_set.names):
        np.testing.assert_allclose(fast.values[:, j], slow.values[:, j], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("feature_set", SETS[:3], ids=[each.name for each in SETS[:3]])
def test_the_kernel_agrees_with_the_reference_over_a_whole_day(feature_set: FeatureSet) -> None:
    bars = make_bars(7, 330)
    fast, slow = compute_features(bars, feature_set, TICK), reference_features(bars, feature_set, TICK)
    np.testing.assert_allclose(fast.values, slow.values, rtol=1e-5, atol=1e-6)
    assert fast.warm.sum() == 330 - feature_set.warmup + 1


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SETS), seeds, st.lists(st.integers(0, 300), max_size=6), st.integers(0, 300))
def test_rows_do_not_depend_on_chunks_or_restarts(
    feature_set: FeatureSet, seed: int, cuts: list[int], restart: int
) -> None:
    bars = make_bars(seed, 150, days=2)
    engine, parts = FeatureEngine(feature_set, TICK), []
    edges = [0, *sorted([*cuts, restart]), len(bars)]
    for start, stop in itertools.pairwise(edges):
        if start == restart:
            blob, engine = engine.snapshot(), FeatureEngine(feature_set, TICK)
            engine.restore(blob)
            assert engine.snapshot() == blob
        parts.append(engine.update(bars[start:stop]))
    assert_same(joined(parts), compute_features(bars, feature_set, TICK))


@by_set
def test_one_bar_at_a_time_gives_the_same_bits(feature_set: FeatureSet) -> None:
    bars = make_bars(3, 160, days=2)
    engine = FeatureEngine(feature_set, TICK)
    parts = [engine.update(bars[i : i + 1]) for i in range(len(bars))]
    assert_same(joined(parts), compute_features(bars, feature_set, TICK))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SETS), seeds, seeds, st.integers(1, 239))
def test_changing_the_future_never_changes_the_past(feature_set: FeatureSet, seed: int, other: int, cut: int) -> None:
    bars, changed = make_bars(seed, 120, days=2), make_bars(other, 120, days=2)
    changed[:cut] = bars[:cut]
    before, after = compute_features(bars, feature_set, TICK), compute_features(changed, feature_set, TICK)
    assert_same(FeatureRows(*(c[:cut] for c in before)), FeatureRows(*(c[:cut] for c in after)))


@settings(max_examples=40, deadline=None)
@given(seeds, st.data())
def test_rows_are_finite_whatever_the_bars_hold(seed: int, data: st.DataObject) -> None:
    bars = make_bars(seed, 60)
    wild = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e308, -1e308, 5e-324])
    for name in data.draw(st.lists(st.sampled_from(FLOATS), min_size=1, max_size=6)):
        bars[name][data.draw(st.integers(0, 59))] = data.draw(wild)
    rows = compute_features(bars, QUICK_FULL, TICK)
    assert np.isfinite(rows.values).all()
    assert np.abs(rows.values).max() <= QUICK.normaliser.clip


def test_bars_without_any_trade_or_move_give_zeros() -> None:
    bars = make_bars(1, 200, closing=False)
    for name in FLOATS:
        bars[name] = 0.0
    for name in ("open", "high", "low", "close", "vwap"):
        bars[name] = 100.0
    for name in ("n", "buy_n", "sell_n", "up_ticks", "down_ticks"):
        bars[name] = 0
    rows = compute_features(bars, CORE, TICK)
    clock = [CORE.names.index(n) for n in ("time_of_day_sin", "time_of_day_cos", "session_progress")]
    assert not np.delete(rows.values, clock, axis=1).any()
    assert rows.values[-1, clock].any()


@by_set
def test_every_feature_moves_once_warm(feature_set: FeatureSet) -> None:
    rows = compute_features(make_bars(11, 400, days=2), feature_set, TICK)
    spread = rows.values[rows.warm].std(axis=0)
    assert dict(zip(feature_set.names, spread > 0.0, strict=True)) == dict.fromkeys(feature_set.names, True)


@by_set
def test_a_day_can_be_recomputed_from_itself_and_its_context(feature_set: FeatureSet) -> None:
    bars = make_bars(5, 140, days=3)
    whole = compute_features(bars, feature_set, TICK)
    alone = compute_features(bars[140:280], feature_set, TICK, day_context(bars[:140]))
    assert_same(FeatureRows(*(c[140:280] for c in whole)), alone)
    assert np.flatnonzero(alone.warm)[0] == feature_set.warmup - 1


def test_a_gap_voids_the_state_until_warm_again() -> None:
    bars = make_bars(5, 300)
    bars["flags"][40] |= BarFlag.AFTER_GAP
    rows = compute_features(bars, CORE, TICK)
    again = 40 + CORE.warmup - 1
    assert not rows.after_gap[:40].any()
    assert rows.after_gap[40:again].all()
    assert not rows.after_gap[again:].any()
    assert not rows.warm[:again].any()
    assert rows.warm[again:].all()
    alone = compute_features(bars[40:], CORE, TICK)
    assert alone.values.tobytes() == rows.values[40:].tobytes()


def test_a_gap_ends_with_its_day() -> None:
    bars = make_bars(5, 50, days=2)
    bars["flags"][20] |= BarFlag.AFTER_GAP
    rows = compute_features(bars, CORE, TICK)
    assert rows.after_gap[20:50].all()
    assert not rows.after_gap[50:].any()


def test_a_new_stream_starts_fresh_within_the_day() -> None:
    bars = make_bars(5, 150)
    engine = FeatureEngine(CORE, TICK)
    engine.update(bars[:70])
    engine.new_stream()
    assert_same(engine.update(bars[70:]), compute_features(bars[70:], CORE, TICK))


def test_an_outlier_does_not_hide_in_its_own_statistics() -> None:
    bars = make_bars(9, 200, closing=False)
    bars["ret_5m"][150] = 1.0
    column = CORE.names.index("ret_5m")
    assert compute_features(bars, CORE, TICK).values[150, column] == CORE.normaliser.clip


def test_the_callers_bars_may_be_read_only_strided_or_unaligned() -> None:
    bars = make_bars(2, 120)
    expected = compute_features(bars[::2], CORE, TICK)
    frozen = np.frombuffer(b"x" + np.ascontiguousarray(bars[::2]).tobytes(), BAR_DTYPE, offset=1)
    assert_same(compute_features(frozen, CORE, TICK), expected)


def test_no_bars_give_no_rows() -> None:
    rows = compute_features(np.zeros(0, BAR_DTYPE), CORE, TICK)
    assert rows.values.shape == (0, len(CORE.names))
    assert rows.warm.shape == rows.after_gap.shape == (0,)


def test_a_snapshot_of_another_set_or_tick_size_is_refused() -> None:
    blob = FeatureEngine(CORE, TICK).snapshot()
    with pytest.raises(ValueError, match=r"expected set .* tick size 1\.0"):
        FeatureEngine(CORE, 1.0).restore(blob)
    with pytest.raises(ValueError, match="bytes"):
        FeatureEngine(QUICK, TICK).restore(blob)
    with pytest.raises(ValueError, match="bytes"):
        FeatureEngine(CORE, TICK).restore(blob[:-1])


def test_a_snapshot_of_another_layout_is_refused() -> None:
    engine = FeatureEngine(CORE, TICK)
    # The first layout began with the feature set's id.
    for blob in (engine.snapshot()[4:], b"", (1).to_bytes(4, "little") + engine.snapshot()[4:]):
        with pytest.raises(ValueError, match=r"layout 2, got .*again from the log"):
            engine.restore(blob)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(SETS), seeds, st.lists(st.integers(0, 400), max_size=8), st.integers(0, 400))
def test_a_bank_gives_each_symbol_what_it_would_get_alone(
    feature_set: FeatureSet, seed: int, cuts: list[int], restart: int
) -> None:
    """Bars of many symbols interleaved at random, in pieces of any length, with new symbols coming in between."""
    rng = np.random.default_rng(seed)
    ticks = [TICK, 0.01, 2.0, TICK, 1.0]
    tapes = [make_bars(int(rng.integers(2**32)), int(rng.integers(1, 60)), days=2) for _ in ticks]
    tapes[1]["flags"][len(tapes[1]) // 3] |= np.uint32(BarFlag.AFTER_GAP)
    order = rng.permutation(np.repeat(np.arange(len(ticks)), [len(tape) for tape in tapes]))
    bars = np.empty(len(order), BAR_DTYPE)
    for number, tape in enumerate(tapes):
        bars[order == number] = tape
    bank, parts, known = FeatureBank(feature_set), [], 0
    for start, stop in itertools.pairwise(sorted({0, len(order), *(min(c, len(order)) for c in (*cuts, restart))})):
        while known <= order[start:stop].max(initial=-1):
            assert bank.add(ticks[known]) == known
            known += 1
        if start == restart:
            blobs, bank = [bank.snapshot(number) for number in range(known)], FeatureBank(feature_set)
            for number, blob in enumerate(blobs):
                bank.restore(bank.add(ticks[number]), blob)
        parts.append(bank.update(bars[start:stop], order[start:stop]))
    rows = joined(parts)
    for number, (tape, tick) in enumerate(zip(tapes, ticks, strict=True)):
        mine = FeatureRows(*(column[order == number] for column in rows))
        assert_same(mine, compute_features(tape, feature_set, tick))


def test_a_bank_forgets_one_symbol_alone() -> None:
    bars, bank = make_bars(5, 150), FeatureBank(CORE)
    both = np.repeat([bank.add(TICK), bank.add(TICK)], 70)
    bank.update(np.concatenate([bars[:70], bars[:70]]), both)
    bank.new_stream(0)
    rows = bank.update(np.concatenate([bars[70:140], bars[70:140]]), both)
    assert_same(rows.part(0, 70), compute_features(bars[70:140], CORE, TICK))
    assert_same(rows.part(70, 140), compute_features(bars[:140], CORE, TICK).part(70, 140))


def test_a_bank_refuses_symbols_that_it_does_not_know() -> None:
    bank, bars = FeatureBank(CORE), make_bars(1, 3)
    bank.add(TICK)
    before = bank.snapshot(0)
    for symbols in ([0, 0, 1], [0, -1, 0]):
        with pytest.raises(ValueError, match="numbers that add"):
            bank.update(bars, np.array(symbols))
    with pytest.raises(ValueError, match="one per bar"):
        bank.update(bars, np.zeros(2, np.int64))
    assert bank.snapshot(0) == before


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="tick_size"):
        FeatureEngine(CORE, 0.0)
    with pytest.raises(ValueError, match="BAR_DTYPE"):
        FeatureEngine(CORE, TICK).update(np.zeros(3))
