"""Which pairs of bars and features are computed live."""

from __future__ import annotations

from tapelab.common.errors import ConfigError
from tapelab.common.pipeline import Pipeline
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.features.registry import FEATURE_SETS


def live_pairs(pipeline: Pipeline) -> set[tuple[str, str]]:
    """The (canonical bar specification, feature set id) pairs of ``pipeline.yaml``.

    Raises:
        ConfigError: it names a feature set that this release does not have.
    """
    for pair in pipeline.features:
        if pair.feature_set not in FEATURE_SETS:
            raise ConfigError(
                "config/pipeline.yaml names an unknown feature set",
                expected=f"one of {', '.join(sorted(FEATURE_SETS))}",
                actual=pair.feature_set,
                remedy="correct the name",
            )
    return {(str(BarSpec.parse(pair.bars)), FEATURE_SETS[pair.feature_set].id) for pair in pipeline.features}
