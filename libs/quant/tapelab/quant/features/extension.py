"""The families that ``core`` does without, as one part of the kernel's row."""

from __future__ import annotations

from typing import Any, Final

from tapelab.quant._numba import leaf
from tapelab.quant.features import arrivals, candles, clock, participants, pressure, profile, ranges, technical, trend
from tapelab.quant.features.arrivals import arrivals_row
from tapelab.quant.features.candles import candles_row
from tapelab.quant.features.clock import clock_row
from tapelab.quant.features.participants import participants_row
from tapelab.quant.features.pressure import pressure_row
from tapelab.quant.features.profile import profile_row
from tapelab.quant.features.ranges import ranges_row
from tapelab.quant.features.rolling import Slots
from tapelab.quant.features.spec import FeatureSpec
from tapelab.quant.features.technical import technical_row
from tapelab.quant.features.trend import trend_row

SPECS: Final[tuple[FeatureSpec, ...]] = (
    *trend.SPECS,
    *pressure.SPECS,
    *arrivals.SPECS,
    *ranges.SPECS,
    *technical.SPECS,
    *candles.SPECS,
    *profile.SPECS,
    *participants.SPECS,
    *clock.SPECS,
)

_PRESSURE: Final = trend.SLOTS
_ARRIVALS: Final = _PRESSURE + pressure.SLOTS
_RANGES: Final = _ARRIVALS + arrivals.SLOTS
_TECHNICAL: Final = _RANGES + ranges.SLOTS
_CANDLES: Final = _TECHNICAL + technical.SLOTS
_PROFILE: Final = _CANDLES + candles.SLOTS
_PARTICIPANTS: Final = _PROFILE + profile.SLOTS
SLOTS: Final = _PARTICIPANTS + participants.SLOTS

_PRESSURE_RAW: Final = len(trend.SPECS)
_ARRIVALS_RAW: Final = _PRESSURE_RAW + len(pressure.SPECS)
_RANGES_RAW: Final = _ARRIVALS_RAW + len(arrivals.SPECS)
_TECHNICAL_RAW: Final = _RANGES_RAW + len(ranges.SPECS)
_CANDLES_RAW: Final = _TECHNICAL_RAW + len(technical.SPECS)
_PROFILE_RAW: Final = _CANDLES_RAW + len(candles.SPECS)
_PARTICIPANTS_RAW: Final = _PROFILE_RAW + len(profile.SPECS)
_CLOCK_RAW: Final = _PARTICIPANTS_RAW + len(participants.SPECS)


@leaf
def extension_row(
    bar: Any, t: int, previous: float, log_return: float, change: float, tick_size: float, slots: Slots, raw: Slots
) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``.

    ``t`` counts the day's bars from 0, ``previous`` is the previous close, ``change`` the close less it in ticks.
    """
    trend_row(bar, t, slots[:_PRESSURE], raw)
    pressure_row(bar, t, log_return, change, slots[_PRESSURE:_ARRIVALS], raw[_PRESSURE_RAW:])
    arrivals_row(bar, t, slots[_ARRIVALS:_RANGES], raw[_ARRIVALS_RAW:])
    ranges_row(bar, t, previous, log_return, tick_size, slots[_RANGES:_TECHNICAL], raw[_RANGES_RAW:])
    technical_row(bar, t, previous, slots[_TECHNICAL:_CANDLES], raw[_TECHNICAL_RAW:])
    candles_row(bar, t, change, slots[_CANDLES:_PROFILE], raw[_CANDLES_RAW:])
    profile_row(bar, t, slots[_PROFILE:_PARTICIPANTS], raw[_PROFILE_RAW:])
    participants_row(bar, t, slots[_PARTICIPANTS:], raw[_PARTICIPANTS_RAW:])
    clock_row(bar, raw[_CLOCK_RAW:])
