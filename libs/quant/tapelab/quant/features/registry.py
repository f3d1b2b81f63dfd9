"""The feature sets there are."""

from __future__ import annotations

from typing import Final

from tapelab.quant.features import candles, price, profile, seasonal, technical, trend
from tapelab.quant.features.plan import BASE, DAY_LOCAL
from tapelab.quant.features.spec import FeatureSet, Normaliser, NormaliserKind

#: Thirty features of all families but the technical one, cheap enough for hundreds of symbols.
CORE: Final = FeatureSet(name="core", specs=BASE)

#: Everything that a trading day tells alone.
FULL: Final = FeatureSet(name="full", specs=DAY_LOCAL)

#: The whole catalogue: ``full`` and what compares with earlier days of the stream.
FULL_DAYS: Final = FeatureSet(name="full_days", specs=(*DAY_LOCAL, *seasonal.SPECS))

#: What is computed from prices and volumes alone, for base models.
TECHNICAL: Final = FeatureSet(
    name="technical", specs=(*price.SPECS, *trend.SPECS, *technical.SPECS, *candles.SPECS, *profile.SPECS)
)

#: ``core`` as it comes, for models whose normaliser is fitted on their training rows (``full_raw`` likewise).
CORE_RAW: Final = FeatureSet(name="core_raw", specs=BASE, normaliser=Normaliser(kind=NormaliserKind.RAW))

#: ``full`` under each of the other normalisers, and under none.
VARIANTS: Final = tuple(
    FeatureSet(name=f"full_{kind.name.lower()}", specs=DAY_LOCAL, normaliser=Normaliser(kind=kind))
    for kind in NormaliserKind
    if kind is not NormaliserKind.ROLLING
)

#: Feature sets by name, as ``config/pipeline.yaml`` and experiments refer to them.
FEATURE_SETS: Final[dict[str, FeatureSet]] = {
    each.name: each for each in (CORE, FULL, TECHNICAL, FULL_DAYS, *VARIANTS, CORE_RAW)
}
