"""Hour, weekday and session progress follow the exchange's wall clock, not UTC, across summer time and late opens."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.calendar import SessionCalendar
from tapelab.quant.dtypes import TICK_COLUMNS
from tapelab.quant.features import FEATURE_SETS, compute_features
from tapelab.quant.ticks import Ticks

SAO_PAULO, NEW_YORK = "America/Sao_Paulo", "America/New_York"
B3 = SessionCalendar(timezone=SAO_PAULO, open="09:00", close="18:25", observes="b3", late_open="13:00")
US = SessionCalendar(timezone=NEW_YORK, open="04:00", close="20:00", observes="us", early_close="17:00")
FULL = FEATURE_SETS["full"]


def clock(calendar: SessionCalendar, zone: str, moment: str) -> dict[str, float]:
    """The time features of a bar that closes at a local time."""
    local = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone))
    columns: dict[str, Any] = {
        "ts_event_ns": int(local.timestamp()) * 1_000_000_000,
        "price": 100.0,
        "volume": 1.0,
    }
    tick = Ticks(*(np.array([columns.get(name, 0)], dtype) for name, dtype in TICK_COLUMNS))
    (bar,) = bars = compute_bars(tick, BarSpec("tick", 1), calendar, [0], tape_ended=False)
    assert bar["utc_offset_s"] == local.utcoffset().total_seconds()  # type: ignore[union-attr]
    values = compute_features(bars, FULL, 1.0).values[0]
    return {name: float(values[FULL.names.index(name)]) for name in FULL.names}


def turn(values: dict[str, float], name: str, of: int) -> float:
    """The place on its circle that a sine and a cosine say."""
    return float(np.arctan2(values[f"{name}_sin"], values[f"{name}_cos"]) / (2.0 * np.pi) * of % of)


@pytest.mark.parametrize(
    ("moment", "hours_from_utc"),
    [
        ("2018-11-01T10:30", -3),  # Thursday, before Brazil's last summer time
        ("2018-11-08T10:30", -2),  # Thursday within it
        ("2019-02-14T10:30", -2),  # Thursday, its last but one day
        ("2019-02-21T10:30", -3),
        ("2024-02-15T10:30", -3),  # summer time is no more
    ],
)
def test_one_local_time_gives_one_hour_under_every_rule_of_summer_time(moment: str, hours_from_utc: int) -> None:
    offset = ZoneInfo(SAO_PAULO).utcoffset(datetime.fromisoformat(moment))
    assert offset is not None
    assert offset.total_seconds() == hours_from_utc * 3_600
    got = clock(B3, SAO_PAULO, moment)
    assert turn(got, "hour", 24) == pytest.approx(10.5, abs=1e-5)
    assert turn(got, "time_of_day", 24) == pytest.approx(1.5, abs=1e-5)
    assert turn(got, "weekday", 7) == pytest.approx(3.0, abs=1e-5)
    assert got["session_progress"] == pytest.approx(1.5 / (9 + 25 / 60))


def test_a_late_open_moves_the_session_and_not_the_hour() -> None:
    """Ash Wednesday of 2024 opens at 13:00: time of day and progress count from there, the hour does not."""
    got = clock(B3, SAO_PAULO, "2024-02-14T14:00")
    assert turn(got, "hour", 24) == pytest.approx(14.0, abs=1e-5)
    assert turn(got, "time_of_day", 24) == pytest.approx(1.0, abs=1e-5)
    assert turn(got, "weekday", 7) == pytest.approx(2.0, abs=1e-5)
    assert got["session_progress"] == pytest.approx(1.0 / (5 + 25 / 60))


@pytest.mark.parametrize("month", [1, 7])
def test_an_evening_in_new_york_is_still_the_same_weekday(month: int) -> None:
    got = clock(US, NEW_YORK, f"2024-{month:02d}-05T19:30")  # Fridays; past midnight in UTC in winter
    assert turn(got, "weekday", 7) == pytest.approx(4.0, abs=1e-5)
    assert turn(got, "hour", 24) == pytest.approx(19.5, abs=1e-5)


def test_a_market_without_a_close_counts_in_utc() -> None:
    always = SessionCalendar(timezone="UTC", open="00:00", close="24:00", weekdays=range(7))
    got = clock(always, "UTC", "2024-03-10T23:00")
    assert turn(got, "weekday", 7) == pytest.approx(6.0, abs=1e-5)
    assert turn(got, "hour", 24) == pytest.approx(23.0, abs=1e-5)
    assert got["session_progress"] == pytest.approx(23.0 / 24.0)
