"""Plain bars are the full bars' plain fields, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.quant._numba import njit
from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.plain import PLAIN_BAR_DTYPE, PLAIN_FIELDS, PlainBars, compute_plain_bars
from tapelab.quant.bars.plain_kernel import BLOCK, PLAIN_STATE_DTYPE
from tapelab.quant.bars.plain_sums import common_grid
from tapelab.quant.bars.reference import ReferenceBars
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


#: How a tape's prices and lots are made: on a grid where sums are exact, off it, and at the edges between.
PRICES = {
    "grid of 5": lambda rng, n: 130_000.0 + 5.0 * np.cumsum(rng.choice([-1, 0, 1], n)),
    "halves": lambda rng, n: 5_000.5 + 0.5 * np.cumsum(rng.choice([-1, 0, 1], n)),
    "64ths": lambda rng, n: 110.0 + np.cumsum(rng.choice([-1, 0, 1], n)) / 64,
    "cents": lambda rng, n: np.round(30.0 + 0.01 * np.cumsum(rng.choice([-1, 0, 1], n)), 2),
    "powers": lambda rng, n: 2.0 ** rng.integers(-70, 70, n),
    "tiny": lambda rng, n: 5e-324 * rng.integers(1, 100, n),
}
LOTS = {
    "whole": lambda rng, n: np.ceil(rng.pareto(1.6, n) * 2.0),
    "whole, some of none": lambda rng, n: np.floor(rng.pareto(1.6, n)),
    "tenths": lambda rng, n: np.round(rng.pareto(1.5, n) + 0.1, 1),
    "whole, then tenths, then whole": lambda rng, n: np.where(np.arange(n) // 700 % 2, 1.1, 3.0),
    "near 2**53": lambda rng, n: rng.choice([2.0**52 - 1, 2.0**51 + 1, 2.0**53, 1.0, 3.0], n),
    "large in every tenth": lambda rng, n: np.where(rng.random(n) < 0.1, 2.0**44 + 1, 1.0),
    "zeros of both signs": lambda rng, n: rng.choice([0.0, -0.0, 1.0], n),
}


def made(prices: str, lots: str, n: int, seed: int) -> Ticks:
    rng = np.random.default_rng(seed)
    ticks = simple([1.0] * n, times_s=np.sort(rng.uniform(0.0, 9_000.0, n)).tolist())
    sides = rng.choice(np.array([-128, -1, 0, 1, 127], np.int8), n)
    return ticks._replace(price=np.abs(PRICES[prices](rng, n)), volume=LOTS[lots](rng, n), aggressor=sides)


def streamed(ticks: Ticks, spec: BarSpec, sizes: list[int]) -> npt.NDArray[np.void]:
    """The bars of a tape cut into chunks of these sizes, in turns."""
    bars = PlainBars(spec, CALENDAR, TYPES)
    pieces, at, turn = [], 0, 0
    while at < ticks.n:
        pieces.append(bars.update(ticks.slice(at, at + sizes[turn % len(sizes)]), at))
        at += sizes[turn % len(sizes)]
        turn += 1
    return np.concatenate([*pieces, bars.end_tape()])


@pytest.mark.parametrize("lots", LOTS)
@pytest.mark.parametrize("prices", PRICES)
def test_sums_in_any_order_are_those_of_one_print_after_the_other(prices: str, lots: str) -> None:
    ticks = made(prices, lots, 3_000, seed=len(prices) + len(lots))
    middle = float(np.median(ticks.price * ticks.volume)) or 1.0
    with np.errstate(over="ignore"):
        for text in (
            "tick:90",
            f"volume:{300.0 * max(float(np.median(ticks.volume)), 1.0)!r}",
            f"dollar:{200 * middle!r}",
        ):
            assert_equal(ticks, text)


@pytest.mark.parametrize("price", [None, -130_000.0, 0.0, -0.0, np.nan, np.inf, 0.1, 1e300, 5e-324, 2.0**80])
@pytest.mark.parametrize("volume", [None, -3.0, -0.0, np.nan, np.inf, 0.5, 2.0**52, 2.0**53, 1e300])
def test_one_odd_print_among_sound_ones(price: float | None, volume: float | None) -> None:
    ticks = made("grid of 5", "whole", 1_200, seed=3)
    if price is not None:
        ticks.price[700] = price
    if volume is not None:
        ticks.volume[701] = volume
    with np.errstate(over="ignore"):
        assert_equal(ticks, "volume:333")
        assert_equal(ticks, "dollar:4e7")


@settings(deadline=None, max_examples=40)
@given(
    prices=st.sampled_from(list(PRICES)),
    lots=st.sampled_from(list(LOTS)),
    kind=st.sampled_from(["tick:37", "volume:41", "volume:3.5", "dollar:1e6", "dollar:333.3", "time:7s"]),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=6),
    seed=st.integers(0, 1_000),
)
def test_chunks_never_show(prices: str, lots: str, kind: str, sizes: list[int], seed: int) -> None:
    ticks = made(prices, lots, 1_500, seed)
    spec = BarSpec.parse(kind)
    whole = compute_plain_bars(ticks, spec, CALENDAR, TYPES)
    assert streamed(ticks, spec, sizes).tobytes() == whole.tobytes()


@settings(deadline=None, max_examples=40)
@given(ticks=tapes(), text=st.sampled_from(SPECS), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_any_short_tape_in_chunks_is_the_full_builders(ticks: Ticks, text: str, sizes: list[int]) -> None:
    spec = BarSpec.parse(text)
    full = BarBuilder([spec], CALENDAR, TYPES)
    expected = np.concatenate([full.update(ticks, 0)[0], full.end_tape()[0]])
    found = streamed(ticks, spec, sizes)
    for name in PLAIN_FIELDS:
        assert found[name].tobytes() == expected[name].tobytes(), name


@pytest.mark.parametrize("text", SPECS)
def test_trouble_in_chunks_of_every_size(text: str) -> None:
    ticks, spec = seeded(4_000, seed=8), BarSpec.parse(text)
    reference = ReferenceBars(spec, CALENDAR, TYPES)
    expected = np.concatenate([reference.update(ticks, 0), reference.end_tape()])
    for sizes in ([1, BLOCK - 1, BLOCK, BLOCK + 1, 7], [4_000]):
        found = streamed(ticks, spec, sizes)
        for name in PLAIN_FIELDS:
            assert found[name].tobytes() == expected[name].tobytes(), name


def test_a_long_bar_counts_every_side_of_every_block() -> None:
    ticks = made("grid of 5", "whole", 40 * BLOCK, seed=2)
    (bar,) = compute_plain_bars(ticks, BarSpec("volume", 1e12), CALENDAR, TYPES)
    assert (bar["buy_n"], bar["sell_n"]) == ((ticks.aggressor > 0).sum(), (ticks.aggressor < 0).sum())
    assert bar["buy_volume"] == ticks.volume[ticks.aggressor > 0].sum()


@pytest.mark.parametrize(
    ("prices", "volumes", "pending", "grid"),
    [
        # A price of half the first is reckoned with, and lies on half the grid.
        ([130_005.0, 130_010.0], [1.0, 40.0], 0.0, 0.5),
        ([130_008.0, 130_016.0], [1.0, 0.0], 24.0, 4.0),
        ([130_008.0, 130_016.0], [1.0, 0.0], 25.0, 0.0),  # what is pending lies between
        ([5_000.5, 5_001.0], [3.0, 2.0], 0.0, 0.25),
        ([110.0 + 1 / 64, 110.0], [3.0, 2.0], 0.0, 2.0**-7),
        ([4.0, 4.0], [1.0, 1.0], 0.0, 2.0),
        ([30.01, 30.02], [3.0, 1e6], 0.0, 0.0),
        ([5_000.5, 5_001.0], [3.0, 2.5], 0.0, 0.0),
        ([5_000.5, 10_001.5], [3.0, 2.0], 0.0, 0.0),  # beyond twice the first
        ([5_000.5, 5_001.0], [3.0, 2.0**51], 0.0, 0.0),
        ([5_000.5, -5_001.0], [3.0, 2.0], 0.0, 0.0),
        ([5_000.5, np.nan], [3.0, 2.0], 0.0, 0.0),
        ([np.inf, np.inf], [3.0, 2.0], 0.0, 0.0),
        ([5_000.5, 5_001.0], [3.0, -2.0], 0.0, 0.0),
        ([5_000.5, 5_001.0], [3.0, -0.0], 0.0, 0.0),
        ([5_000.5, 5_001.0], [np.nan, 2.0], 0.0, 0.0),
    ],
)
def test_the_grid_on_which_sums_are_exact(
    prices: list[float], volumes: list[float], pending: float, grid: float
) -> None:
    state = np.zeros(1, PLAIN_STATE_DTYPE)
    state["dollar"] = pending
    price, volume = np.array(prices), np.array(volumes)
    assert _grid(price, volume, state) == grid


@njit
def _grid(price: Any, volume: Any, state: Any) -> float:
    grid: float = common_grid(price, volume, price.view(np.int64), volume.view(np.int64), 0, len(price), state[0])
    return grid


def test_a_new_stream_begins_afresh() -> None:
    ticks, spec = seeded(1_000, seed=6), BarSpec("tick", 30)
    bars = PlainBars(spec, CALENDAR, TYPES)
    first = bars.update(ticks, 0)
    assert not bars.end_tape()["seq"][0] < len(first)
    bars.new_stream()
    assert bars.update(ticks, 0).tobytes() == first.tobytes()


def test_bars_handed_out_are_not_touched_again() -> None:
    ticks, spec = made("cents", "whole", 4_000, seed=1), BarSpec("tick", 3)
    bars = PlainBars(spec, CALENDAR, TYPES)
    first = bars.update(ticks.slice(0, 2_000), 0)
    before = first.tobytes()
    bars.update(ticks.slice(2_000), 2_000)
    assert first.tobytes() == before
