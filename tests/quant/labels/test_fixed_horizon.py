"""Labels follow the stated rule, never change when the tape grows, and end within the session."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.labels.fixed_horizon import Labels, sign_of_return, sign_of_return_trades
from tapelab.quant.labels.reference import Label, reference_sign_of_return, reference_sign_of_return_trades

SESSION = 100


def ints(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


@st.composite
def problems(draw: st.DrawFn) -> Any:
    """Bars and a tape over one session: shared timestamps, late prints, pauses, unusable prices."""
    ts = draw(st.lists(st.integers(0, 120), min_size=0, max_size=25))
    if draw(st.booleans()):
        ts = sorted(ts)
    prices = draw(st.lists(st.sampled_from([99.0, 100.0, 101.0, 0.0]), min_size=len(ts), max_size=len(ts)))
    closes = sorted(draw(st.lists(st.integers(0, 110), max_size=12)))
    return ints(*closes), np.full(len(closes), SESSION, np.int64), ints(*ts), np.array(prices, dtype=np.float64)


def assert_equal(labels: Labels, expected: list[Label]) -> None:
    rows = zip(*(column.tolist() for column in labels), strict=True)
    for (label, ret, end_ns, valid), reference in zip(rows, expected, strict=True):
        assert (label, end_ns, valid) == (reference.label, reference.ts_end_ns, reference.valid)
        if reference.ret is None:
            assert math.isnan(ret)
        else:
            assert ret == pytest.approx(reference.ret, rel=1e-15)


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(1, 40), st.integers(0, 10), st.none() | st.integers(0, 150))
def test_time_labels_agree_with_the_reference(problem: Any, horizon: int, delay: int, known: int | None) -> None:
    assert_equal(
        sign_of_return(*problem, horizon_ns=horizon, delay_ns=delay, known_until_ns=known),
        reference_sign_of_return(*problem, horizon_ns=horizon, delay_ns=delay, known_until_ns=known),
    )


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(1, 10), st.integers(0, 10))
def test_trade_labels_agree_with_the_reference(problem: Any, n_trades: int, delay: int) -> None:
    assert_equal(
        sign_of_return_trades(*problem, n_trades=n_trades, delay_ns=delay),
        reference_sign_of_return_trades(*problem, n_trades=n_trades, delay_ns=delay),
    )


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(1, 40), st.integers(0, 10), st.integers(0, 25), st.booleans())
def test_a_longer_tape_never_changes_a_valid_label(
    problem: Any, horizon: int, delay: int, cut: int, in_trades: bool
) -> None:
    closes, sessions, ts, prices = problem

    def labels(n: int) -> Labels:
        if in_trades:
            return sign_of_return_trades(closes, sessions, ts[:n], prices[:n], n_trades=horizon, delay_ns=delay)
        return sign_of_return(closes, sessions, ts[:n], prices[:n], horizon_ns=horizon, delay_ns=delay)

    early, late = labels(min(cut, len(ts))), labels(len(ts))
    for before, after in zip(early, late, strict=True):
        np.testing.assert_array_equal(before[early.valid], after[early.valid])


def test_entry_and_exit_are_the_last_trades_up_to_their_times() -> None:
    ts, prices = ints(10, 20, 20, 35, 60), np.array([100.0, 101.0, 102.0, 99.0, 50.0])
    labels = sign_of_return(ints(20), ints(SESSION), ts, prices, horizon_ns=20)
    assert labels.label.tolist() == [-1]
    assert labels.ret.tolist() == [math.log(99.0 / 102.0)]
    assert labels.ts_end_ns.tolist() == [40]
    assert labels.label.dtype == np.int8


def test_the_delay_moves_entry_and_exit() -> None:
    ts, prices = ints(10, 20, 30, 40, 60), np.array([100.0, 101.0, 100.0, 103.0, 50.0])
    labels = sign_of_return(ints(20), ints(SESSION), ts, prices, horizon_ns=10, delay_ns=10)
    assert labels.ret.tolist() == [math.log(103.0 / 100.0)]
    assert labels.ts_end_ns.tolist() == [40]


def test_an_unchanged_price_is_a_tie_and_valid() -> None:
    labels = sign_of_return(ints(10), ints(SESSION), ints(10, 90), np.array([5.0, 6.0]), horizon_ns=20)
    assert (labels.label[0], labels.ret[0], bool(labels.valid[0])) == (0, 0.0, True)


def test_a_horizon_past_the_close_is_not_valid() -> None:
    ts, prices = ints(10, 99, 500), np.array([5.0, 6.0, 7.0])
    labels = sign_of_return(ints(60, 61), ints(SESSION, SESSION), ts, prices, horizon_ns=40)
    assert labels.valid.tolist() == [True, False]
    assert math.isnan(labels.ret[1])
    assert labels.label[1] == 0


def test_the_end_of_the_tape_is_unknown_unless_it_is_said_to_be_complete() -> None:
    ts, prices = ints(10, 50), np.array([5.0, 6.0])
    closes, sessions = ints(10, 20), ints(SESSION, SESSION)
    assert sign_of_return(closes, sessions, ts, prices, horizon_ns=35).valid.tolist() == [True, False]
    known = sign_of_return(closes, sessions, ts, prices, horizon_ns=35, known_until_ns=SESSION)
    assert known.valid.tolist() == [True, True]


def test_trades_are_counted_from_the_entry() -> None:
    ts, prices = ints(10, 20, 20, 30, 40), np.array([100.0, 101.0, 102.0, 104.0, 103.0])
    labels = sign_of_return_trades(ints(20, 30), ints(SESSION, SESSION), ts, prices, n_trades=2)
    assert labels.label.tolist() == [1, 0]
    assert labels.ts_end_ns.tolist() == [40, SESSION]
    assert labels.valid.tolist() == [True, False]


def test_a_late_print_counts_from_when_the_tape_shows_it() -> None:
    ts, prices = ints(10, 30, 15, 60), np.array([100.0, 101.0, 102.0, 103.0])
    labels = sign_of_return(ints(20), ints(SESSION), ts, prices, horizon_ns=20)
    assert labels.ret.tolist() == [math.log(102.0 / 100.0)]


def test_no_trades_give_no_valid_labels() -> None:
    empty = ints(), np.zeros(0)
    assert not sign_of_return(ints(1, 2), ints(9, 9), *empty, horizon_ns=1, known_until_ns=9).valid.any()
    assert not sign_of_return_trades(ints(1, 2), ints(9, 9), *empty, n_trades=1).valid.any()


def test_wrong_arguments_are_refused() -> None:
    good = ints(1), ints(9), ints(1), np.ones(1)
    with pytest.raises(ValueError, match="horizon_ns must be positive"):
        sign_of_return(*good, horizon_ns=0)
    with pytest.raises(ValueError, match="n_trades must be positive"):
        sign_of_return_trades(*good, n_trades=0)
    with pytest.raises(ValueError, match="delay_ns"):
        sign_of_return(*good, horizon_ns=1, delay_ns=-1)
    with pytest.raises(ValueError, match="one session close per bar"):
        sign_of_return(ints(1, 2), ints(9), ints(1), np.ones(1), horizon_ns=1)
    with pytest.raises(ValueError, match="one price per trade"):
        sign_of_return(ints(1), ints(9), ints(1), np.ones(2), horizon_ns=1)
