"""What a feature is: name, family, inputs, window, warm-up, unit, NaN policy, normalisation, source."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final, Literal

Family = Literal["price", "flow", "time", "volatility", "technical", "seasonal"]


class Normalisation(IntEnum):
    """How a raw value becomes the emitted one; the statistics come from earlier bars of the day only."""

    NONE = 0  #: the raw value; for values that are bounded and mean the same on every day
    ZSCORE = 1  #: (value - mean) / standard deviation; for levels
    SCALE = 2  #: value / root mean square; for directions, whose sign and zero must survive


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """One feature.

    Args:
        name: unique in its feature set; parameters ride in it (``vpin_50``).
        family: which of the six families it belongs to.
        inputs: fields of ``BAR_DTYPE`` it reads.
        window: bars it looks back over, the current one included; 1 reads the current bar only.
        warmup: bars of the day, the current one included, from which the raw value is defined.
        unit: unit of the raw value.
        nan_policy: what stands where the definition has no value; never NaN.
        normalisation: how the raw value is scaled.
        summary: the definition in one line.
        source: the paper it comes from.
        revision: raised whenever the arithmetic changes, so that the feature set's id does too.
    """

    name: str
    family: Family
    inputs: tuple[str, ...]
    window: int
    warmup: int
    unit: str
    nan_policy: str
    normalisation: Normalisation
    summary: str
    source: str
    revision: int = 1


class NormaliserKind(IntEnum):
    """Which statistics of earlier values a normaliser scales by."""

    ROLLING = 0  #: mean and standard deviation, or root mean square, of the window
    ROBUST = 1  #: median and interquartile range, or median of absolute values; exact quantiles of the window
    RANK = 2  #: share of the window's values below, equal ones half
    WINSOR = 3  #: as ROLLING, of values kept within the window's quantiles ``tail`` and ``1 - tail``
    EWMA = 4  #: exponentially weighted mean and deviation; ``window`` is the half-life
    RAW = 5  #: none: values as they come, for a normaliser that is fitted on training rows (``fitted``)


_DOES: Final = {
    NormaliserKind.ROLLING: "rolling mean and deviation of the last {} bars",
    NormaliserKind.ROBUST: "median and interquartile range (of a direction: median size) of the last {} bars, as "
    "deviations of a normal distribution",
    NormaliserKind.RANK: "rank among the last {} bars, -1 to 1 (of a direction: by size, with its sign)",
    NormaliserKind.WINSOR: "rolling mean and deviation of the last {} bars' values within their quantiles",
    NormaliserKind.EWMA: "exponential mean and deviation, half-life {} bars",
    NormaliserKind.RAW: "none: values as they come",
}


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """Scales by statistics of the last ``window`` bars *before* the current one, then winsorises.

    The current bar is left out of its own statistics, so that an outlier does not hide itself. At least
    ``minimum`` earlier values are needed; a feature emits 0 before that and where those values do not vary.
    The result is clipped to ``[-clip, +clip]``. ``tail`` is used by ``WINSOR`` alone.
    """

    kind: NormaliserKind = NormaliserKind.ROLLING
    window: int = 100
    minimum: int = 50
    clip: float = 5.0
    tail: float = 0.02

    @property
    def shape(self) -> float:
        """The number that the kernel needs besides: the tail, or the decay per bar."""
        if self.kind is NormaliserKind.WINSOR:
            return self.tail
        return 0.5 ** (1.0 / self.window) if self.kind is NormaliserKind.EWMA else 0.0

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        if self.kind is NormaliserKind.RAW:
            return _DOES[self.kind]
        tails = f" {self.tail:g} and {1.0 - self.tail:g}" if self.kind is NormaliserKind.WINSOR else ""
        return f"{_DOES[self.kind].format(self.window)}{tails} (at least {self.minimum}), winsorised at ±{self.clip:g}"

    @property
    def content(self) -> list[object]:
        """What its arithmetic depends on; the rolling one's is as short as it was before there were others."""
        base: list[object] = [self.window, self.minimum, self.clip]
        return base if self.kind is NormaliserKind.ROLLING else [*base, self.kind.name, self.shape]


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Features in their emitted order and the normaliser that belongs to them."""

    name: str
    specs: tuple[FeatureSpec, ...]
    normaliser: Normaliser = Normaliser()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Feature names in emitted order."""
        return tuple(spec.name for spec in self.specs)

    @cached_property
    def modes(self) -> tuple[Normalisation, ...]:
        """How each raw value becomes the emitted one: as its spec says, unless the set leaves all of them raw."""
        if self.normaliser.kind is NormaliserKind.RAW:
            return (Normalisation.NONE,) * len(self.specs)
        return tuple(spec.normalisation for spec in self.specs)

    @cached_property
    def warmup(self) -> int:
        """Bars of the day, the current one included, from which every feature is defined."""
        return max(
            spec.warmup + (0 if mode is Normalisation.NONE else self.normaliser.minimum)
            for spec, mode in zip(self.specs, self.modes, strict=True)
        )

    @cached_property
    def id(self) -> str:
        """Content hash, 16 hex digits: everything that the values depend on besides the bars and the tick size."""
        content = {
            "name": self.name,
            "normaliser": self.normaliser.content,
            "specs": [
                [s.name, s.family, s.inputs, s.window, s.warmup, s.nan_policy, int(s.normalisation), s.revision]
                for s in self.specs
            ],
        }
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()


#: NaN policies, worded once.
NEVER: Final = "always defined"
ZERO_WHEN_EMPTY: Final = "0 where the denominator is 0"
ZERO_WHEN_UNKNOWN: Final = "0 where the input is NaN"
ZERO_WHEN_FLAT: Final = "0 where the window does not vary"
