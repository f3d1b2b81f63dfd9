"""Estimates of the spread: against plain formulas, against a known spread, and never by the future."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tapelab.quant.backtest.spreads import (
    WINDOW,
    corwin_schultz_spread,
    effective_spread,
    roll_spread,
    spread_for_fills,
)
from tapelab.quant.features.reference_volatility import corwin_schultz as plain_corwin_schultz


class Tape:
    """Prints of a market with a known spread: a middle that walks, and sides at random."""

    def __init__(self, seed: int, bars: int = 400, spread: float = 10.0, days: int = 3) -> None:
        rng = np.random.default_rng(seed)
        m = bars * 20
        self.side = rng.choice([-1, 1], m).astype(np.int8)
        self.side[rng.random(m) < 0.02] = 0
        middle = 100_000.0 + np.cumsum(rng.normal(0.0, 1.0, m))
        self.price = middle + self.side * spread / 2
        # Bars of uneven sizes; one holds no print.
        self.last = np.sort(rng.choice(m - 1, bars, replace=False))
        self.last[7] = self.last[6]
        self.day = (20260105 + np.arange(bars) * days // bars).astype(np.int32)
        self.first = np.append(0, self.last[:-1] + 1)
        rows = [slice(a, max(b + 1, a + 1)) for a, b in zip(self.first, self.last, strict=True)]
        self.high = np.array([self.price[r].max() for r in rows])
        self.low = np.array([self.price[r].min() for r in rows])
        self.close = self.price[self.last]

    def estimates(self, upto: int | None = None) -> dict[str, Any]:
        cut = slice(0, upto)
        m = None if upto is None else int(self.last[upto - 1]) + 1
        price, side, first, last, day = self.price[:m], self.side[:m], self.first[cut], self.last[cut], self.day[cut]
        return {
            "roll": roll_spread(price, first, last, day),
            "effective": effective_spread(price, side, first, last, day),
            "corwin_schultz": corwin_schultz_spread(self.high[cut], self.low[cut], self.close[cut], day),
        }

    def prints_of(self, i: int) -> slice:
        """Rows of the prints that an estimate at bar i may look at, within its day."""
        first_bar = int(np.argmax(self.day == self.day[i]))
        begins = 0 if first_bar == 0 else int(self.last[first_bar - 1]) + 1
        return slice(begins, int(self.last[i]) + 1)

    def window(self, i: int) -> int:
        """First print of the window's first bar."""
        first = max(i - WINDOW + 1, int(np.argmax(self.day == self.day[i])))
        return 0 if first == 0 else int(self.last[first - 1]) + 1


def near(value: float, plain: float) -> bool:
    return bool(np.isnan(value) and np.isnan(plain)) or value == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_roll_and_the_effective_spread_are_their_formulas(seed: int) -> None:
    tape = Tape(seed, bars=90)
    found = tape.estimates()
    for i in range(90):
        rows = tape.prints_of(i)
        price, side = tape.price[rows], tape.side[rows]
        offset = tape.window(i) - rows.start
        changes = np.diff(price)
        # Change t ends at print t + 1; both changes of a pair may not begin before the day does.
        pairs = [(changes[t], changes[t - 1]) for t in range(max(offset - 1, 1), len(changes))]
        plain = np.nan
        if len(pairs) >= 2:
            now, before = np.array(pairs).T
            covariance = np.mean(now * before) - now.mean() * before.mean()
            plain = 2 * np.sqrt(-covariance) if covariance < 0 else np.nan
        assert near(found["roll"][i], plain)
        known = np.flatnonzero(side != 0)
        crossed = [side[b] * (price[b] - price[a]) for a, b in pairwise(known) if side[a] == -side[b] and b >= offset]
        mean = float(np.mean(crossed)) if crossed else np.nan
        assert near(found["effective"][i], mean if mean > 0 else np.nan)


def test_corwin_and_schultz_is_the_paper_averaged_over_the_window() -> None:
    tape = Tape(4, bars=60, days=2)
    found = tape.estimates()["corwin_schultz"]
    for i in range(60):
        first = int(np.argmax(tape.day == tape.day[i]))
        pairs = plain_corwin_schultz(tape.high[first : i + 1], tape.low[first : i + 1])
        # The window's first bar brings the pair with the bar before it.
        mean = float(pairs[-WINDOW:].mean()) if len(pairs) >= WINDOW else float(pairs.sum() / max(len(pairs), 1))
        assert near(found[i], mean * tape.close[i] if mean > 0 else np.nan)


def test_a_known_spread_is_found() -> None:
    tape = Tape(5, bars=2_000, days=1)
    found = tape.estimates()
    assert np.nanmean(found["effective"]) == pytest.approx(10.0, rel=0.01)
    # The root of a noisy covariance is low on average.
    assert np.nanmean(found["roll"]) == pytest.approx(10.0, rel=0.03)


@pytest.mark.parametrize("upto", [1, 2, 20, 133, 134, 399])
def test_the_future_changes_nothing(upto: int) -> None:
    tape = Tape(6)
    for name, part in tape.estimates(upto).items():
        assert part.tobytes() == tape.estimates()[name][:upto].tobytes()


def test_prints_that_are_in_no_bar_count_for_none() -> None:
    side, day = np.array([1, -1, 1, -1, 1], np.int8), np.array([20260105, 20260106], np.int32)
    price = np.array([10.0, 9.0, 500.0, 7.0, 9.0])
    found = effective_spread(price, side, np.array([0, 3]), np.array([1, 4]), day)
    assert found.tolist() == [1.0, 2.0]


def test_without_prints_or_sides_there_is_no_estimate_and_fills_pay_the_fixed_spread() -> None:
    first, last, day = np.array([0, 0, 2]), np.array([-1, 1, 2]), np.full(3, 20260105, np.int32)
    price, nobody = np.array([5.0, 5.0, 5.0]), np.zeros(3, np.int8)
    assert np.isnan(roll_spread(price, first, last, day)).all()
    assert np.isnan(effective_spread(price, nobody, first, last, day)).all()
    assert np.isnan(corwin_schultz_spread(price, price, price, day)).all()
    assert not len(roll_spread(price, first[:0], last[:0], np.empty(0, np.int32)))
    assert spread_for_fills(np.array([np.nan, 0.1, 12.0]), 2.0, 5.0).tolist() == [10.0, 10.0, 12.0]
