"""Bars, fractional differentiation and triple barriers against mlfinpy 0.1.2, and where it is wrong.

``mlfinpy.json`` holds a seeded tape and mlfinpy's output, written by ``make_mlfinpy.py``. They agree to the bit
where they mean the same: a bar takes the print that reaches the threshold whole and the next begins at zero, so
no remainder is carried over. Where they differ, the tests below say who does what.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.plain import compute_plain_bars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.dtypes import BAR_DTYPE, TICK_COLUMNS, BarFlag
from tapelab.quant.features import trend
from tapelab.quant.features.trend import fractional_weights, trend_row
from tapelab.quant.labels.triple_barrier import triple_barrier_bars
from tapelab.quant.ticks import Ticks

THEIRS: dict[str, Any] = json.loads(Path(__file__).with_name("mlfinpy.json").read_text())
KINDS = sorted(THEIRS["thresholds"])
NIGHT = THEIRS["night"]
OPEN_NS = 9 * 3_600 * 1_000_000_000
#: Sessions from 9 to 17; the tape's clock starts at the open of the first.
CALENDAR = SessionCalendar(timezone="UTC", open="09:00", close="17:00", weekdays=range(7))


def tape(rows: int, volume: list[float] | None = None) -> Ticks:
    """The fixture's prints, their sides by the tick rule as mlfinpy applies it."""
    seconds, price = (np.array(THEIRS["tape"][name][:rows]) for name in ("seconds", "price"))
    moves = np.sign(np.diff(price, prepend=price[0]))
    last = np.maximum.accumulate(np.where(moves != 0, np.arange(rows), 0))
    columns = {
        "ts_event_ns": OPEN_NS + np.round(seconds * 1e9),
        "price": price,
        "volume": np.array(volume or THEIRS["tape"]["volume"][:rows]),
        "aggressor": moves[last],
    }
    zeros = np.zeros(rows)
    return Ticks(*(columns.get(name, zeros).astype(dtype) for name, dtype in TICK_COLUMNS))


def as_theirs(bars: Any) -> list[list[float]]:
    """Our bars in mlfinpy's columns."""
    names = ("open", "high", "low", "close", "volume", "buy_volume", "n", "dollar")
    return [
        [(int(bar["ts_close_ns"]) - OPEN_NS) / 1e9, bar["last_tick_seq"] + 1.0, *(float(bar[name]) for name in names)]
        for bar in bars
    ]


def ours(kind: str, ticks: Ticks, **options: Any) -> Any:
    return compute_bars(ticks, BarSpec(kind, float(THEIRS["thresholds"][kind])), CALENDAR, [0], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_bars_of_a_session_are_the_same_to_the_bit(kind: str) -> None:
    bars = ours(kind, tape(NIGHT), tape_ended=False)
    assert len(bars) >= 19
    assert as_theirs(bars) == THEIRS["bars"][kind]


@pytest.mark.parametrize("kind", KINDS)
def test_plain_bars_are_theirs_too(kind: str) -> None:
    spec = BarSpec(kind, float(THEIRS["thresholds"][kind]))  # type: ignore[arg-type]
    bars = compute_plain_bars(tape(NIGHT), spec, CALENDAR, [0], tape_ended=False)
    rows = [[bar[name].item() for name in ("open", "high", "low", "close", "volume", "n", "dollar")] for bar in bars]
    assert rows == [[*row[2:7], *row[8:]] for row in THEIRS["bars"][kind]]


@pytest.mark.parametrize("kind", KINDS)
def test_they_lose_the_sessions_last_prints_and_run_bars_over_night(kind: str) -> None:
    """mlfinpy knows no sessions: what is pending at a close goes into a bar of the next day, a tape's end is lost."""
    whole = ours(kind, tape(len(THEIRS["tape"]["price"])))
    first_day = whole[whole["day"] == whole["day"][0]]
    assert first_day["flags"][-1] & BarFlag.SESSION_END
    assert int(whole["n"].sum()) == len(THEIRS["tape"]["price"])
    theirs = THEIRS["bars_over_night"][kind]
    last_ticks = [row[1] for row in theirs]
    over_night = theirs[next(i for i, last in enumerate(last_ticks) if last > NIGHT)]
    assert over_night[1] - over_night[8] < NIGHT < over_night[1]
    assert NIGHT not in last_ticks
    assert last_ticks[-1] < len(THEIRS["tape"]["price"])


def test_one_print_without_a_volume_stops_their_bars_for_good() -> None:
    """The sum is NaN from there on and never reaches the threshold; here the print is no print."""
    volume = THEIRS["tape"]["volume"][:NIGHT].copy()
    volume[60] = float("nan")
    assert max(row[1] for row in THEIRS["volume_bars_after_nan"]) <= 60
    bars = ours("volume", tape(NIGHT, volume))
    assert bars["last_tick_seq"][-1] == NIGHT - 1
    assert int(bars["n"].sum()) == NIGHT - 1


def test_fractional_differentiation_of_fixed_width_is_theirs() -> None:
    theirs = THEIRS["frac_diff"]
    assert (theirs["order"], len(theirs["weights"])) == (trend.ORDER, trend.WIDTH)
    assert list(fractional_weights(trend.ORDER, trend.WIDTH)) == theirs["weights"]
    bars = np.zeros(len(THEIRS["close"]), BAR_DTYPE)
    bars["close"] = THEIRS["close"]
    slots, raw = np.zeros(trend.SLOTS), np.zeros(len(trend.SPECS))
    got = []
    for t in range(len(bars)):
        trend_row(bars[t], t, slots, raw)
        got.append(raw[-1])
    assert theirs["values"][: trend.WIDTH - 1] == [None] * (trend.WIDTH - 1)
    np.testing.assert_allclose(got[trend.WIDTH - 1 :], theirs["values"][trend.WIDTH - 1 :], rtol=1e-12)


def test_their_differentiation_fails_where_a_series_begins_without_a_value() -> None:
    """Rows are counted in the series without the gap and looked up in the one with it."""
    assert "not aligned" in THEIRS["frac_diff"]["first_value_missing"]


def corridor(prices: list[float], width: float, horizon: int) -> Any:
    bars = np.zeros(len(prices), BAR_DTYPE)
    bars["day"], bars["ts_close_ns"] = 20240212, 1_000_000_000 * np.arange(len(prices))
    for name in ("open", "high", "low", "close"):
        bars[name] = prices
    widths = np.full(len(prices), width)
    return triple_barrier_bars(bars, upper=widths, lower=widths, horizon_bars=horizon)


def test_triple_barriers_on_closes_are_touched_when_theirs_are() -> None:
    """mlfinpy sees closes alone, so the bars' highs and lows are their closes here."""
    theirs = THEIRS["triple_barrier"]
    labels = corridor(THEIRS["close"], theirs["width"], theirs["horizon"])
    up, down = np.array(theirs["up"]), np.array(theirs["down"])
    never = len(up)
    first = np.minimum(np.where(up < 0, never, up), np.where(down < 0, never, down))
    side = np.where(first == never, 0, np.where(first == up, 1, -1))
    sure = labels.valid
    assert sure.sum() == never - theirs["horizon"]
    np.testing.assert_array_equal(labels.label[sure], side[sure])
    touched = sure & (side != 0)
    np.testing.assert_array_equal(labels.ts_end_ns[touched] // 1_000_000_000, first[touched])
    assert {-1, 0, 1} == set(labels.label[sure].tolist())


def test_their_label_forgets_a_touch_of_a_barrier_of_several_targets() -> None:
    """A touch is told by the simple return, its label by the log return against ln(1 + target) times the multiple."""
    jump = THEIRS["jump"]
    assert (jump["end_row"], jump["label"]) == (1, 0)
    assert corridor(jump["prices"], jump["upper"], 2).label[0] == 1
