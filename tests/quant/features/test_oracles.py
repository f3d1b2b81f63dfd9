"""The features' definitions against libraries that know nothing of ours.

The definitions (``reference.DEFINITIONS``) are what the kernels are held to elsewhere; here they meet TA-Lib, whose
figures are written down, and pandas and scipy, which run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.features.reference import DEFINITIONS
from tests.quant.features.bars import TICK, make_bars

AT = (60, 200, 399, 499)


def walk(n: int) -> Any:
    """Bars on whole prices from a linear congruential generator, the same in any language."""
    x, close = 1, 2000

    def draw(k: int) -> int:
        nonlocal x
        x = (1103515245 * x + 12345) % 2**31
        return (x >> 16) % k

    bars = np.zeros(n, BAR_DTYPE)
    for bar in bars:
        opened = close + draw(5) - 2
        close = opened + draw(9) - 4
        bar["open"], bar["close"] = opened, close
        bar["high"] = max(opened, close) + draw(4)
        bar["low"] = min(opened, close) - draw(4)
    return bars


WALK = walk(500)


def at(name: str, bars: Any, i: int, tick: float = 1.0) -> float:
    return DEFINITIONS[name](bars[: i + 1], tick)


# TA-Lib 0.8.1 by its Python wrapper 0.8.2 on the same 500 bars.
@pytest.mark.parametrize(
    ("name", "rows", "expected", "tolerance"),
    [
        # ATR(14): the first is the plain mean of 14 true ranges.
        ("atr_14", (14, 15, 60, 499), (6.0, 5.928571428571429, 4.952542548623148, 5.285576354101388), 1e-12),
        # RSI(14) / 50 - 1.
        (
            "rsi_14",
            AT,
            [rsi / 50 - 1 for rsi in (57.06556242737327, 56.38959087997688, 39.026821079541115, 46.98310191985268)],
            1e-12,
        ),
        # BBANDS(20, 2, 2): (close - middle) / (upper - middle), and (upper - lower) / middle.
        (
            "bollinger_position_20",
            AT,
            (0.4928271103740369, 0.31257218718144447, -0.6103129274889292, -0.10162454564084752),
            1e-9,
        ),
        (
            "bollinger_width_20",
            AT,
            (0.007256176564120334, 0.011354821622750482, 0.007337984670648749, 0.006629277389349043),
            1e-9,
        ),
        # MACD(12, 26, 9) and its histogram over the close. TA-Lib begins its averages with plain means, we with the
        # day's first close, so that only what has forgotten its beginning agrees.
        ("macd", AT[2:], (-3.520659265140239 / 1916.0, -1.3624902003161878 / 1929.0), 1e-9),
        ("macd_histogram", AT[2:], (0.5082328126221194 / 1916.0, -0.36807814181335685 / 1929.0), 1e-9),
        # ln(MAX(high, 60) / close) and ln(close / MIN(low, 60)).
        ("resistance_gap_60", AT[2:], np.log([1949.0 / 1916.0, 1947.0 / 1929.0]), 1e-12),
        ("support_gap_60", AT[2:], np.log([1916.0 / 1911.0, 1929.0 / 1912.0]), 1e-12),
    ],
)
def test_indicators_are_those_of_ta_lib(name: str, rows: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose([at(name, WALK, i) for i in rows], expected, rtol=tolerance)


def test_engulfing_bars_are_those_of_ta_lib() -> None:
    """CDLENGULFING: bodies of opposite colours, the later one longer; both may share one end.

    TA-Lib takes a bar without a body for a rising one, so that a falling bar engulfs it; we take it for neither.
    """
    up = (21, 57, 74, 99, 212, 239, 248, 276, 279, 293, 368, 372, 485)
    down = (31, 39, 51, 84, 130, 227, 236, 242, 254, 268, 285, 297, 307, 363, 378, 390, 418, 420, 427, 435, 465, 478)
    ours = [at("engulfing", WALK, i) for i in range(1, len(WALK))]
    bodies = WALK["close"] - WALK["open"]
    assert [i + 1 for i, value in enumerate(ours) if value > 0] == list(up)
    assert [i + 1 for i, value in enumerate(ours) if value < 0] == [i for i in down if bodies[i - 1] != 0.0]


BARS = make_bars(3, 120, closing=False)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    frame = pd.DataFrame({name: BARS[name] for name in BAR_DTYPE.names or ()})
    previous = frame["close"].shift().fillna(frame["open"].iloc[0])
    frame["return"] = np.log(frame["close"] / previous)
    frame["change"] = (frame["close"] - previous) / TICK
    frame["signed"] = frame["buy_volume"] - frame["sell_volume"]
    frame["root"] = np.sign(frame["signed"]) * np.sqrt(frame["signed"].abs() * frame["vwap"])
    return frame


def rolling_figures(f: pd.DataFrame) -> dict[str, Any]:
    """The rolling features in the words of a pandas user."""
    root_of = np.sqrt
    log_hl, log_co = np.log(f["high"] / f["low"]), np.log(f["close"] / f["open"])
    up, down = np.log(f["high"] / f["open"]), np.log(f["low"] / f["open"])
    sizes = f["return"].abs()
    bipower = np.pi / 2 * (sizes * sizes.shift()).rolling(20).mean()
    volatility = root_of(f["realised_var"])
    return {
        "vpin_50": f["signed"].abs().rolling(50).sum() / f["volume"].rolling(50).sum(),
        "flow_ewma_5": f["signed"].ewm(halflife=5).mean() / f["volume"].ewm(halflife=5).mean(),
        "flow_ewma_20": f["signed"].ewm(halflife=20).mean() / f["volume"].ewm(halflife=20).mean(),
        "trade_ewma_10": (f["buy_n"] - f["sell_n"]).ewm(halflife=10).mean() / f["n"].ewm(halflife=10).mean(),
        "aggressor_ratio_20": (f["buy_n"] - f["sell_n"]).rolling(20).sum() / f["n"].rolling(20).sum(),
        "amihud_50": (sizes * 1e6 / f["dollar"]).rolling(50).mean(),
        "realised_vol_20": root_of(f["realised_var"].rolling(20).mean()),
        "vol_of_vol_50": volatility.rolling(50).std(ddof=0) / volatility.rolling(50).mean(),
        "parkinson_20": root_of((log_hl**2).rolling(20).mean() / (4 * np.log(2))),
        "garman_klass_20": root_of((log_hl**2 / 2 - (2 * np.log(2) - 1) * log_co**2).rolling(20).mean().clip(lower=0)),
        "rogers_satchell_20": root_of((up * (up - log_co) + down * (down - log_co)).rolling(20).mean()),
        "return_vol_20": root_of((f["return"] ** 2).rolling(20).mean()),
        "bipower_vol_20": root_of(bipower),
        "jump_share_20": (1 - bipower / (f["return"] ** 2).rolling(20).mean()).clip(lower=0),
        "roll_spread_50": 2 * root_of((-f["change"].rolling(50).cov(f["change"].shift(), ddof=0)).clip(lower=0)),
        "vwap_gap_20": np.log(f["close"] / (f["dollar"].rolling(20).sum() / f["volume"].rolling(20).sum())),
        "momentum_10": np.log(f["close"]).diff(10),
    }


@pytest.mark.parametrize("name", list(rolling_figures(pd.DataFrame(
    {column: [1.0, 2.0] for column in (*(BAR_DTYPE.names or ()), "return", "change", "signed", "root")}
))))  # fmt: skip
def test_rolling_figures_are_those_of_pandas(name: str, frame: pd.DataFrame) -> None:
    expected = rolling_figures(frame)[name].to_numpy()
    for i in (60, 90, 119):
        assert at(name, BARS, i, TICK) == pytest.approx(expected[i], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("name", "flow"), [("kyle_lambda_50", "signed"), ("hasbrouck_lambda_50", "root")])
def test_price_impact_is_the_slope_of_a_regression(name: str, flow: str, frame: pd.DataFrame) -> None:
    for i in (60, 90, 119):
        window = frame.iloc[i - 49 : i + 1]
        slope = stats.linregress(window[flow], window["return"]).slope
        assert at(name, BARS, i, TICK) == pytest.approx(slope, rel=1e-9)
