"""What closes a bar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

BarKind = Literal["tick", "volume", "dollar", "time"]
BAR_KINDS: Final[tuple[str, ...]] = get_args(BarKind)

_UNITS_S: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0}
_EXPECTED: Final = "expected tick:200, volume:5000, dollar:5e6 or time:1s"


@dataclass(frozen=True, slots=True)
class BarSpec:
    """A bar's measure and the threshold that closes it.

    ``tick`` counts prints, ``volume`` sums lots, ``dollar`` sums price times volume: the print that brings
    the sum to the threshold or above closes the bar and belongs to it whole. ``time`` cuts event time
    into intervals of ``threshold`` seconds counted from the session's open; empty intervals give no bar.

    ``str(spec)`` is the canonical text: equal specs have equal texts, and :meth:`parse` reads it back.

    Args:
        kind: the measure.
        threshold: prints, lots, currency or seconds.

    Raises:
        ValueError: an unknown kind, a threshold that is no finite positive number, a fraction of a
            print, or an interval below a nanosecond.
    """

    kind: BarKind
    threshold: float

    def __post_init__(self) -> None:
        shown = f"{self.kind}:{self.threshold}"
        if self.kind not in BAR_KINDS:
            raise ValueError(f"bar specification: {_EXPECTED}, got {shown!r}")
        if not (math.isfinite(self.threshold) and self.threshold > 0.0):
            raise ValueError(f"bar specification: expected a finite positive threshold, got {shown!r}")
        if self.kind == "tick" and self.threshold != int(self.threshold):
            raise ValueError(f"bar specification: expected a whole number of prints, got {shown!r}")
        if self.kind == "time" and not 1 <= round(self.threshold * 1e9) < 2**62:
            raise ValueError(f"bar specification: expected an interval of 1 ns to 146 years, got {shown!r}")

    @classmethod
    def parse(cls, text: str) -> BarSpec:
        """Read ``tick:200``, ``volume:5000``, ``dollar:5e6`` or ``time:1s`` (also ms, m, h).

        Raises:
            ValueError: the text is none of these.
        """
        kind, _, amount = text.strip().partition(":")
        unit = 1.0
        if kind == "time":
            suffix = next((u for u in _UNITS_S if amount.endswith(u) and amount[: -len(u)][-1:].isdigit()), None)
            if suffix is None:
                raise ValueError(f"bar specification: expected an interval such as time:1s, got {text!r}")
            amount, unit = amount[: -len(suffix)], _UNITS_S[suffix]
        try:
            threshold = float(amount) * unit
        except ValueError as error:
            raise ValueError(f"bar specification: {_EXPECTED}, got {text!r}") from error
        return cls(cast(BarKind, kind), threshold)

    @property
    def interval_ns(self) -> int:
        """Length of a time bar's interval; 0 for other kinds."""
        return round(self.threshold * 1e9) if self.kind == "time" else 0

    def __str__(self) -> str:
        """The canonical text."""
        return f"{self.kind}:{_number(self.threshold)}{'s' if self.kind == 'time' else ''}"


def _number(value: float) -> str:
    """The shortest text that reads back as the same number, plain below a million."""
    plain = str(int(value)) if value == int(value) and value < 1e16 else repr(float(value))
    if value < 1e6:
        return plain
    for exponent in range(6, 309):
        mantissa = value / 10.0**exponent
        if mantissa < 10.0:
            short = f"{int(mantissa) if mantissa == int(mantissa) else repr(mantissa)}e{exponent}"
            return short if float(short) == value and len(short) < len(plain) else plain
    return plain
