"""The feature sets there are."""

from __future__ import annotations

from typing import Final

from tapelab.quant.features.kernel import CATALOGUE
from tapelab.quant.features.spec import FeatureSet

#: The whole catalogue under the default normaliser.
CORE: Final = FeatureSet(name="core", specs=CATALOGUE)

#: Feature sets by name, as ``config/pipeline.yaml`` refers to them.
FEATURE_SETS: Final[dict[str, FeatureSet]] = {CORE.name: CORE}
