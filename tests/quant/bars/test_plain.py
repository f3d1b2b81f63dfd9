"""Plain bars are the full bars' plain fields, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.plain import PLAIN_BAR_DTYPE, PLAIN_FIELDS, compute_plain_bars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.ticks import Ticks
from tests.quant.bars.tapes import CALENDAR, MONDAY, TYPES, seeded, simple, tapes

SPECS = ("tick:1", "tick:17", "tick:200", "volume:3", "volume:5000", "dollar:250", "dollar:1e7", "time:1s", "time:5m")


def assert_equal(ticks: Ticks, text: str, *, tape_ended: bool = True, first_seq: int = 0) -> None:
    spec = BarSpec.parse(text)
    full = compute_bars(ticks, spec, CALENDAR, TYPES, first_seq=first_seq, tape_ended=tape_ended)
    plain = compute_plain_bars(ticks, spec, CALENDAR, TYPES, first_seq=first_seq, tape_ended=tape_ended)
    assert plain.dtype == PLAIN_BAR_DTYPE
    assert len(plain) == len(full)
    for name in PLAIN_FIELDS:
        assert plain[name].tobytes() == full[name].tobytes(), name


@settings(deadline=None, max_examples=60)
@given(ticks=tapes(), text=st.sampled_from(SPECS), tape_ended=st.booleans(), first_seq=st.sampled_from([0, 10**12]))
def test_any_short_tape(ticks: Ticks, text: str, tape_ended: bool, first_seq: int) -> None:
    assert_equal(ticks, text, tape_ended=tape_ended, first_seq=first_seq)


@pytest.mark.parametrize("text", SPECS)
def test_long_tapes_with_every_kind_of_trouble(text: str) -> None:
    assert_equal(seeded(8_000, seed=3), text)


@pytest.mark.parametrize("text", SPECS)
def test_long_tapes_without_trouble_take_the_short_way(text: str) -> None:
    rng = np.random.default_rng(5)
    n = 20_000
    whole = simple(
        (100.0 + np.cumsum(rng.choice([-0.01, 0.0, 0.01], n))).tolist(),
        volumes=np.round(rng.pareto(1.5, n) + 0.1, 1).tolist(),
        times_s=np.sort(rng.uniform(0.0, 20_000.0, n)).tolist(),
    )
    sides = rng.choice(np.array([-128, -1, 0, 1, 127], np.int8), n)
    assert_equal(whole._replace(aggressor=sides), text)
    # One print out of place sends its block the long way, and only that one.
    late = whole.ts_event_ns.copy()
    late[n // 2] = MONDAY.open_ns
    assert_equal(whole._replace(aggressor=sides, ts_event_ns=late), text)


def test_times_so_wrong_that_their_differences_overflow() -> None:
    ticks = simple([100.0] * 40)
    times = ticks.ts_event_ns.copy()
    times[7], times[8], times[9] = -(2**63) + 5, 2**63 - 1, -(2**63)
    assert_equal(ticks._replace(ts_event_ns=times), "tick:7")


def test_zeros_of_both_signs_and_huge_values() -> None:
    volumes = [0.0, -0.0, 1e300, 1e308, 1.7e308, 5e-324] * 9
    prices = [1e-300, 5e-324, 1.7e308, 1.0, 2.0, 0.5] * 9
    with np.errstate(over="ignore"):
        for text in ("tick:5", "volume:1e300", "time:3s"):
            assert_equal(simple(prices, volumes=volumes), text)


def test_columns_with_gaps_between_their_elements_are_read_as_they_are() -> None:
    ticks = seeded(2_000, seed=9)
    strided = Ticks._make(np.repeat(column, 2)[::2] for column in ticks)
    spec = BarSpec("tick", 9)
    expected = compute_plain_bars(ticks, spec, CALENDAR, TYPES)
    assert compute_plain_bars(strided, spec, CALENDAR, TYPES).tobytes() == expected.tobytes()
    assert len(compute_plain_bars(Ticks.empty(), spec, CALENDAR, TYPES)) == 0


def test_the_future_never_changes_a_closed_bar() -> None:
    ticks = seeded(3_000, seed=4)
    spec = BarSpec("volume", 40.0)
    whole = compute_plain_bars(ticks, spec, CALENDAR, TYPES, tape_ended=False)
    for cut in (1, 999, 1_024, 2_500):
        past = compute_plain_bars(ticks.slice(0, cut), spec, CALENDAR, TYPES, tape_ended=False)
        assert past.tobytes() == whole[: len(past)].tobytes()
