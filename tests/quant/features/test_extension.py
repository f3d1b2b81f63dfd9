"""The families beyond ``core`` against published figures and figures worked by hand."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.features import FEATURE_SETS, FeatureSet, FeatureSpec, Normalisation, compute_features
from tapelab.quant.features.arrivals import weekday
from tapelab.quant.features.ranges import pair_spread
from tapelab.quant.features.trend import fractional_weights

SPECS = {spec.name: spec for spec in FEATURE_SETS["full"].specs}


def raw(bars: Any, name: str, tick_size: float = 1.0) -> Any:
    """The feature as it is before any scaling."""
    spec: FeatureSpec = SPECS[name]
    if spec.normalisation is not Normalisation.NONE:
        pytest.fail(f"{name} is scaled; test it against the reference")
    return compute_features(bars, FeatureSet(name="one", specs=(spec,)), tick_size).values[:, 0]


def flat_bars(closes: list[float]) -> Any:
    """Bars that hold one price each, a second apart, one lot bought."""
    bars = np.zeros(len(closes), BAR_DTYPE)
    bars["day"], bars["n"], bars["buy_n"], bars["volume"] = 20260105, 1, 1, 1.0
    bars["ts_open_ns"] = bars["ts_close_ns"] = 1_000_000_000 * np.arange(len(closes))
    for name in ("open", "high", "low", "close", "vwap"):
        bars[name] = closes
    bars["dollar"] = bars["close"]
    return bars


def test_rsi_is_the_published_one() -> None:
    """StockCharts' worked example of Wilder's RSI(14), rounded to two digits there."""
    closes = """
        44.3389 44.0902 44.1497 43.6124 44.3278 44.8264 45.0955 45.4245 45.8433 46.0826 45.8931 46.0328 45.6140
        46.2820 46.2820 46.0028 46.0328 46.4116 46.2222 45.6439 46.2122 46.2521 45.7137 46.4515 45.7835 45.3548
        44.0288 44.1783 44.2181 44.5672 43.4205 42.6628 43.1314
    """
    published = """
        70.53 66.32 66.55 69.41 66.36 57.97 62.93 63.26 56.06 62.38 54.71 50.42 39.99 41.46 41.87 45.46 37.30 33.08
        37.77
    """
    got = 50.0 * (1.0 + raw(flat_bars([float(c) for c in closes.split()]), "rsi_14")[14:])
    np.testing.assert_allclose(got, [float(p) for p in published.split()], atol=0.01)


def test_bollinger_position_is_counted_in_band_widths() -> None:
    """Nineteen closes at 10 and one at 30: mean 11, deviation sqrt(19), so 19 / (2 sqrt(19))."""
    got = raw(flat_bars([10.0] * 19 + [30.0]), "bollinger_position_20")
    assert got[-1] == pytest.approx(19.0 / (2.0 * 19.0**0.5), rel=1e-6)
    assert not got[:-1].any()


def test_fractional_weights_are_the_binomial_ones() -> None:
    """(1 - B)^0.5 = 1 - B/2 - B^2/8 - B^3/16 - 5 B^4/128 ..., and order 1 is a plain difference."""
    assert fractional_weights(0.5, 5) == (1.0, -0.5, -0.125, -0.0625, -5.0 / 128.0)
    assert fractional_weights(1.0, 4)[:2] == (1.0, -1.0)
    assert not any(fractional_weights(1.0, 4)[2:])


def test_the_spread_of_two_equal_bars_is_their_range() -> None:
    """With no volatility both bars run from bid to ask: gamma = ln(H/L)^2, beta = 2 gamma: S = 2 (H - L) / (H + L)."""
    assert pair_spread(101.0, 99.0, 101.0, 99.0) == pytest.approx(2.0 * 2.0 / 200.0, rel=1e-9)
    assert pair_spread(120.0, 119.0, 101.0, 99.0) == 0.0


def test_the_weekday_is_the_calendars() -> None:
    day = date(1999, 12, 25)
    for _ in range(900):
        assert weekday(day.year * 10_000 + day.month * 100 + day.day) == day.weekday()
        day += timedelta(days=1)


def test_the_profile_of_a_known_distribution() -> None:
    """Range 0 to 24, so a bin per unit: 40 lots at 12.5, 10 each at 11.5 and 13.5, the rest spread thinly."""
    bars = flat_bars([12.5] * 60)
    bars["low"][0], bars["high"][0] = 100.0, 124.0
    bars["high"][1:], bars["low"][1:] = 113.0, 112.0
    bars["vwap"], bars["close"], bars["volume"] = 112.5, 112.5, 1.0
    bars["vwap"][:10], bars["vwap"][10:20] = 111.5, 113.5
    bars["close"][-1] = 118.5
    # 40 of 60 lots in bin 12; 42 are needed, so bin 11 joins: it ties with bin 13 and is the lower.
    assert raw(bars, "poc_gap_60")[-1] == pytest.approx(6.0 / 24.0)
    assert raw(bars, "value_area_width_60")[-1] == pytest.approx(2.0 / 24.0)
    assert raw(bars, "value_area_position_60")[-1] == 3.0


def test_patterns_read_the_bar_and_the_one_before() -> None:
    bars = flat_bars([10.0, 10.0, 10.0])
    bars["open"], bars["high"], bars["low"], bars["close"] = [10, 7, 9], [11, 12, 10], [7, 6, 9], [8, 11, 10]
    assert raw(bars, "engulfing").tolist() == [0.0, 1.0, 0.0]
    assert raw(bars, "inside_bar").tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_allclose(raw(bars, "body_share"), [-0.5, 4.0 / 6.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(raw(bars, "upper_wick"), [0.25, 1.0 / 6.0, 0.0], rtol=1e-6)


def test_runs_end_with_an_unchanged_close() -> None:
    got = raw(flat_bars([10, 11, 12, 12, 11, 10, 9, *([9.0] * 3), *range(10, 25)]), "run_length")
    assert got[9] == 0.0
    assert got[-1] == 1.0
    np.testing.assert_allclose(raw(flat_bars([10.0] * 8 + [11.0, 12.0]), "run_length")[-1], 0.2, rtol=1e-6)
