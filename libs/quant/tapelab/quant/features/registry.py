"""The feature sets there are."""

from __future__ import annotations

from typing import Final

from tapelab.quant.features import candles, price, profile, technical, trend
from tapelab.quant.features.kernel import BASE, CATALOGUE
from tapelab.quant.features.spec import FeatureSet

#: Thirty features of all families but the technical one, cheap enough for hundreds of symbols.
CORE: Final = FeatureSet(name="core", specs=BASE)

#: The whole catalogue.
FULL: Final = FeatureSet(name="full", specs=CATALOGUE)

#: What is computed from prices and volumes alone, for base models.
TECHNICAL: Final = FeatureSet(
    name="technical", specs=(*price.SPECS, *trend.SPECS, *technical.SPECS, *candles.SPECS, *profile.SPECS)
)

#: Feature sets by name, as ``config/pipeline.yaml`` and experiments refer to them.
FEATURE_SETS: Final[dict[str, FeatureSet]] = {each.name: each for each in (CORE, FULL, TECHNICAL)}
