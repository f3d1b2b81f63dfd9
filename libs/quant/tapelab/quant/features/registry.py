"""The feature sets there are."""

from __future__ import annotations

from typing import Final

from tapelab.quant.features import candles, price, profile, technical, trend
from tapelab.quant.features.kernel import BASE, CATALOGUE
from tapelab.quant.features.spec import FeatureSet, Normaliser, NormaliserKind

#: Thirty features of all families but the technical one, cheap enough for hundreds of symbols.
CORE: Final = FeatureSet(name="core", specs=BASE)

#: The whole catalogue.
FULL: Final = FeatureSet(name="full", specs=CATALOGUE)

#: What is computed from prices and volumes alone, for base models.
TECHNICAL: Final = FeatureSet(
    name="technical", specs=(*price.SPECS, *trend.SPECS, *technical.SPECS, *candles.SPECS, *profile.SPECS)
)

#: The whole catalogue under each of the other normalisers.
VARIANTS: Final = tuple(
    FeatureSet(name=f"full_{kind.name.lower()}", specs=CATALOGUE, normaliser=Normaliser(kind=kind))
    for kind in NormaliserKind
    if kind is not NormaliserKind.ROLLING
)

#: Feature sets by name, as ``config/pipeline.yaml`` and experiments refer to them.
FEATURE_SETS: Final[dict[str, FeatureSet]] = {each.name: each for each in (CORE, FULL, TECHNICAL, *VARIANTS)}
