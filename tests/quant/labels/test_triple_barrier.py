"""Barriers touch where the reference says, the stop counts first, and the future never changes a label."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.labels import first_touch as kernel
from tapelab.quant.labels.first_touch import first_touch
from tapelab.quant.labels.fixed_horizon import Labels, sign_of_return, sign_of_return_trades
from tapelab.quant.labels.meta import meta_labels
from tapelab.quant.labels.reference_paths import reference_first_touch, reference_triple_barrier_trades
from tapelab.quant.labels.regression import regression_targets
from tapelab.quant.labels.triple_barrier import triple_barrier_bars, triple_barrier_trades

SESSION = 100
WILD = [math.nan, math.inf, -math.inf]
seeds = st.integers(0, 2**32 - 1)


def same(left: Labels, right: Labels, rows: Any = slice(None)) -> None:
    for name, a, b in zip(Labels._fields, left, right, strict=True):
        np.testing.assert_array_equal(a[rows], b[rows], err_msg=name)


def spans_of(seed: int, m: int, n: int, wild: bool) -> Any:
    rng = np.random.default_rng(seed)
    high = 100.0 + np.cumsum(rng.integers(-2, 3, m)).astype(np.float64)
    low = high - rng.integers(0, 3, m)
    start = np.sort(rng.integers(0, m + 1, n))
    stop = np.minimum(start + rng.integers(0, 40, n), m)
    middle = np.where(start > 0, low[start - 1], 100.0) if m else np.full(n, 100.0)
    upper, lower = middle + rng.integers(1, 9, n), middle - rng.integers(1, 9, n)
    if wild:
        for column in (high, low, upper, lower):
            if len(column):
                column[rng.random(len(column)) < 0.1] = rng.choice(WILD)
    return high, low, start, stop, upper, lower, rng.choice([-1, 1], n).astype(np.int8)


@settings(max_examples=150, deadline=None)
@given(seeds, st.integers(0, 120), st.integers(0, 60), st.booleans(), st.booleans())
def test_touches_agree_with_the_reference(seed: int, m: int, n: int, wild: bool, sided: bool) -> None:
    *spans, side = spans_of(seed, m, n, wild)
    touches = first_touch(*spans, side=side if sided else None)
    expected = reference_first_touch(*spans, side=side if sided else None)
    assert list(zip(touches.row.tolist(), touches.side.tolist(), strict=True)) == expected


@pytest.mark.parametrize("sided", [False, True])
def test_spans_too_long_for_windows_give_the_same(sided: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_LONGEST", 0)
    for seed in range(30):
        *spans, side = spans_of(seed, 120, 60, True)
        touches = first_touch(*spans, side=side if sided else None)
        expected = reference_first_touch(*spans, side=side if sided else None)
        assert list(zip(touches.row.tolist(), touches.side.tolist(), strict=True)) == expected


@pytest.mark.slow
def test_a_path_longer_than_a_stretch_of_it_agrees_with_the_reference() -> None:
    rng = np.random.default_rng(4)
    m = 3 * kernel._STRETCH + 17
    high = 1000.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, m)))
    low = high * (1.0 - np.abs(rng.normal(0.0, 1e-3, m)))
    start = np.arange(1, m + 1)
    for horizon, width in ((1, 1e-3), (100, 1e-2), (127, 2e-3), (128, 3e-2)):
        spans = high, low, start, np.minimum(start + horizon, m), high * (1.0 + width), high * (1.0 - width)
        touches = first_touch(*spans)
        assert list(zip(touches.row.tolist(), touches.side.tolist(), strict=True)) == reference_first_touch(*spans)
    # One span as long as the path, and far apart starts.
    far = np.array([0, 1, m - 5, m]), np.array([m, m - 1, m, m])
    barriers = np.full(4, high.max()), np.full(4, -1.0)
    touches = first_touch(high, low, *far, *barriers)
    assert list(zip(touches.row.tolist(), touches.side.tolist(), strict=True)) == reference_first_touch(
        high, low, *far, *barriers
    )


def test_spans_that_do_not_fit_are_refused() -> None:
    path, one = np.ones(3), np.ones(1)
    for start, stop in (([-1], [1]), ([2], [1]), ([1], [4])):
        with pytest.raises(ValueError, match=r"spans within 0\.\.3"):
            first_touch(path, path, np.array(start), np.array(stop), one, one)
    with pytest.raises(ValueError, match="never fall"):
        first_touch(path, path, np.array([1, 0]), np.array([1, 1]), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="per label"):
        first_touch(path, path, np.array([1]), np.array([1]), np.ones(2), one)
    with pytest.raises(ValueError, match="one low per high"):
        first_touch(path, one, np.array([1]), np.array([1]), one, one)


@st.composite
def problems(draw: st.DrawFn) -> Any:
    """Bars and a tape over one session: shared timestamps, late prints, unusable prices."""
    ts = draw(st.lists(st.integers(0, 120), min_size=0, max_size=30))
    if draw(st.booleans()):
        ts = sorted(ts)
    values = [98.0, 99.0, 100.0, 101.0, 102.0, 0.0, math.nan, math.inf]
    prices = draw(st.lists(st.sampled_from(values), min_size=len(ts), max_size=len(ts)))
    closes = sorted(draw(st.lists(st.integers(0, 110), max_size=12)))
    n = len(closes)
    widths = st.sampled_from([0.004, 0.01, 0.015, math.inf, math.nan])
    return (
        np.array(closes, np.int64),
        np.full(n, SESSION, np.int64),
        np.array(ts, np.int64),
        np.array(prices, np.float64),
        np.array(draw(st.lists(widths, min_size=n, max_size=n))),
        np.array(draw(st.lists(widths, min_size=n, max_size=n))),
    )


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(1, 40), st.integers(0, 10), st.sampled_from(["zero", "sign"]))
def test_barriers_over_trades_agree_with_the_reference(problem: Any, horizon: int, delay: int, timeout: Any) -> None:
    *tape, upper, lower = problem
    with np.errstate(invalid="ignore"):
        options: Any = {"upper": upper, "lower": lower, "horizon_ns": horizon, "delay_ns": delay, "timeout": timeout}
        labels = triple_barrier_trades(*tape, **options)
        expected = reference_triple_barrier_trades(*tape, **options)
    for i, reference in enumerate(expected):
        assert bool(labels.valid[i]) == reference.valid
        if reference.valid:
            assert (labels.label[i], labels.ts_end_ns[i]) == (reference.label, reference.ts_end_ns)
            assert labels.ret[i] == pytest.approx(reference.ret, rel=1e-15)
        else:
            assert labels.label[i] == 0
            assert math.isnan(labels.ret[i])


def made_tape(seed: int, m: int = 400) -> Any:
    rng = np.random.default_rng(seed)
    ts = np.sort(rng.integers(0, 1_000, m))
    prices = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 2e-3, m)))
    closes = ts[::5].copy()
    return closes, np.full(len(closes), 900, np.int64), ts, prices


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 399), st.booleans())
def test_another_future_never_changes_a_label_that_has_ended(seed: int, cut: int, in_trades: bool) -> None:
    closes, sessions, ts, prices = made_tape(seed)
    options: Any = {"n_trades": 20} if in_trades else {"horizon_ns": 60}
    widths = {"upper": np.full(len(closes), 4e-3), "lower": np.full(len(closes), 4e-3)}
    whole = triple_barrier_trades(closes, sessions, ts, prices, **widths, **options)
    changed = prices.copy()
    changed[cut:] *= 1.01
    other = triple_barrier_trades(closes, sessions, ts, changed, **widths, **options)
    ended = whole.valid & (whole.ts_end_ns < ts[cut])
    same(whole, other, ended)
    short = triple_barrier_trades(closes, sessions, ts[:cut], prices[:cut], **widths, **options)
    same(whole, short, short.valid)


@pytest.mark.parametrize("options", [{"horizon_ns": 60}, {"n_trades": 20}])
def test_without_barriers_it_is_the_sign_of_the_return(options: dict[str, int]) -> None:
    tape = made_tape(3)
    none = np.full(len(tape[0]), np.inf)
    labels = triple_barrier_trades(*tape, upper=none, lower=none, timeout="sign", **options)
    plain: Any = sign_of_return if "horizon_ns" in options else sign_of_return_trades
    expected = plain(*tape, **options)
    same(labels, expected, expected.valid)
    np.testing.assert_array_equal(labels.valid, expected.valid)


def test_whether_a_label_is_valid_does_not_depend_on_what_it_touched() -> None:
    tape = made_tape(8)
    wide, tight = (np.full(len(tape[0]), width) for width in (np.inf, 1e-5))
    far = triple_barrier_trades(*tape, upper=wide, lower=wide, horizon_ns=60)
    near = triple_barrier_trades(*tape, upper=tight, lower=tight, horizon_ns=60)
    np.testing.assert_array_equal(far.valid, near.valid)
    assert (near.ts_end_ns[near.valid] < far.ts_end_ns[far.valid]).all()
    assert not far.label.any()


def bars_of(prices: list[tuple[float, float, float, float]], *, days: list[int] | None = None) -> Any:
    bars = np.zeros(len(prices), BAR_DTYPE)
    for name, column in zip(("open", "high", "low", "close"), zip(*prices, strict=True), strict=True):
        bars[name] = column
    bars["ts_close_ns"] = np.arange(len(prices)) * 10
    bars["day"] = days or [1] * len(prices)
    return bars


def fractions(n: int, width: float) -> Any:
    return np.full(n, width)


def test_a_bar_that_touches_both_barriers_counts_as_the_stop() -> None:
    bars = bars_of([(100, 100, 100, 100), (100, 103, 97, 102), (102, 102, 102, 102)])
    widths = {"upper": fractions(3, 0.02), "lower": fractions(3, 0.02)}
    plain = triple_barrier_bars(bars, **widths, horizon_bars=2)
    assert (plain.label[0], plain.ts_end_ns[0]) == (-1, 10)
    assert plain.ret[0] == pytest.approx(math.log(0.98))
    short = triple_barrier_bars(bars, **widths, horizon_bars=2, side=np.full(3, -1, np.int8))
    assert short.label[0] == 1
    assert short.ret[0] == pytest.approx(math.log(1.02))
    assert plain.valid.tolist() == [True, False, False]


def test_a_stop_behind_the_open_is_filled_there_and_a_profit_at_its_barrier() -> None:
    widths = {"upper": fractions(2, 0.02), "lower": fractions(2, 0.02)}
    for bar, side, expected in (
        ((95.0, 96.0, 94.0, 95.0), 1, 95.0),
        ((105.0, 106.0, 104.0, 105.0), 1, 102.0),
        ((105.0, 106.0, 104.0, 105.0), -1, 105.0),
        ((95.0, 96.0, 94.0, 95.0), -1, 98.0),
        ((math.nan, 96.0, 94.0, 95.0), 1, 98.0),
    ):
        bars = bars_of([(100, 100, 100, 100), bar])
        labels = triple_barrier_bars(bars, **widths, horizon_bars=1, side=np.full(2, side, np.int8))
        assert math.exp(labels.ret[0]) * 100 == pytest.approx(expected)


def test_bars_end_with_their_day_and_time_runs_out() -> None:
    flat = [(100.0, 100.0, 100.0, 100.0), (100.0, 100.5, 99.5, 100.2), (100.2, 100.2, 100.2, 100.2)]
    bars = bars_of(flat * 2, days=[1, 1, 1, 2, 2, 2])
    widths = {"upper": fractions(6, 0.02), "lower": fractions(6, 0.02)}
    zero = triple_barrier_bars(bars, **widths, horizon_bars=2)
    assert zero.valid.tolist() == [True, False, False] * 2
    assert (zero.label[0], zero.ts_end_ns[0]) == (0, 20)
    sign = triple_barrier_bars(bars, **widths, horizon_bars=2, timeout="sign")
    assert sign.label[0] == 1
    assert sign.ret[0] == pytest.approx(math.log(1.002))


def test_meta_labels_ask_whether_the_side_was_right() -> None:
    bars = bars_of([(100, 100, 100, 100), (100, 103, 100, 103), (103, 103, 90, 90), (90, 90, 90, 90)])
    side = np.array([1, -1, 0, 1], np.int8)
    outcome = triple_barrier_bars(bars, upper=fractions(4, 0.02), lower=fractions(4, 0.02), horizon_bars=1, side=side)
    labels = meta_labels(outcome, side)
    assert labels.label.tolist() == [1, 1, 0, 0]
    assert labels.valid.tolist() == [True, True, False, False]
    assert (labels.ret[:2] > 0).all()
    assert meta_labels(outcome, -side).label.tolist() == [-1, -1, 0, 0]
    with pytest.raises(ValueError, match="sides -1, 0 or 1"):
        meta_labels(outcome, np.full(4, 2, np.int8))
    with pytest.raises(ValueError, match="one side per label"):
        meta_labels(outcome, side[:2])


def test_targets_of_a_regression_come_in_returns_in_ticks_and_net() -> None:
    labels = Labels(
        label=np.array([1, -1, 1, 0], np.int8),
        ret=np.log([1.01, 0.99, 1.0001, np.nan]),
        ts_end_ns=np.arange(4),
        valid=np.array([True, True, True, False]),
    )
    targets = regression_targets(labels, np.full(4, 200.0), np.full(4, 0.001), 0.5)
    np.testing.assert_allclose(targets.ticks, [4.0, -4.0, 0.04, np.nan], rtol=1e-12)
    np.testing.assert_allclose(targets.net, [0.009, -0.009, 0.0, np.nan], rtol=1e-12)
    np.testing.assert_array_equal(targets.log_return, labels.ret)
    with pytest.raises(ValueError, match="costs not below"):
        regression_targets(labels, np.full(4, 200.0), np.full(4, -0.001), 0.5)


def test_wrong_arguments_are_refused() -> None:
    tape = made_tape(1, 50)
    some = np.full(len(tape[0]), 0.01)
    for options in ({}, {"horizon_ns": 5, "n_trades": 5}):
        with pytest.raises(ValueError, match="either horizon_ns or n_trades"):
            triple_barrier_trades(*tape, upper=some, lower=some, **options)
    with pytest.raises(ValueError, match="above 0"):
        triple_barrier_trades(*tape, upper=-some, lower=some, horizon_ns=5)
    with pytest.raises(ValueError, match="per bar"):
        triple_barrier_trades(*tape, upper=some[:1], lower=some, horizon_ns=5)
    with pytest.raises(ValueError, match="BAR_DTYPE"):
        triple_barrier_bars(np.zeros(3), upper=np.ones(3), lower=np.ones(3), horizon_bars=1)
    with pytest.raises(ValueError, match="horizon_bars"):
        triple_barrier_bars(np.zeros(3, BAR_DTYPE), upper=np.ones(3), lower=np.ones(3), horizon_bars=0)
