"""Local wall-clock times of a venue as UTC nanoseconds, vectorised."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

DAY_NS: Final = 86_400_000_000_000
HOUR_NS: Final = 3_600_000_000_000
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - _EPOCH_ORDINAL


def utc_offset_ns(ts_ns: npt.NDArray[np.int64], zone: str) -> npt.NDArray[np.int64]:
    """What a zone's wall clock was ahead of UTC at event times, in nanoseconds, shape ``(n,)``."""
    # No zone changes its clock within a quarter of an hour.
    quarters, inverse = np.unique(ts_ns // (HOUR_NS // 4), return_inverse=True)
    tz = ZoneInfo(zone)
    offsets = np.empty(len(quarters), np.int64)
    for i, quarter in enumerate(quarters.tolist()):
        offset = datetime.fromtimestamp(quarter * 900, tz).utcoffset()
        offsets[i] = 0 if offset is None else int(offset.total_seconds()) * 1_000_000_000
    found: npt.NDArray[np.int64] = offsets[inverse]
    return found


def to_utc_ns(local_ns: npt.NDArray[np.int64], zone: str) -> npt.NDArray[np.int64]:
    """UTC times of local wall-clock times.

    Args:
        local_ns: shape ``(n,)``, wall-clock time as nanoseconds since 1970-01-01 00:00 of the zone.
        zone: IANA name. A wall-clock time that occurs twice is taken as the first, as a venue's
            session never spans the change; one that does not occur is moved on by the change.
    """
    if len(local_ns) == 0:
        return local_ns.astype(np.int64)
    hours, inverse = np.unique(local_ns // HOUR_NS, return_inverse=True)
    tz = ZoneInfo(zone)
    offsets = np.empty(len(hours), np.int64)
    for i, hour in enumerate(hours.tolist()):
        naive = datetime.fromtimestamp(hour * 3600, UTC).replace(tzinfo=tz)
        offset = naive.utcoffset()
        offsets[i] = 0 if offset is None else int(offset.total_seconds()) * 1_000_000_000
    utc: npt.NDArray[np.int64] = local_ns - offsets[inverse]
    return utc
