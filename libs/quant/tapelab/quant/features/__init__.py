"""Features of bars: specs by family, one kernel, a bank of symbols (or an engine for one) and a slow reference."""

from tapelab.quant.features.bank import FeatureBank, FeatureRows
from tapelab.quant.features.engine import FeatureEngine, compute_features
from tapelab.quant.features.registry import FEATURE_SETS
from tapelab.quant.features.spec import FeatureSet, FeatureSpec, Normalisation, Normaliser, NormaliserKind

__all__ = [
    "FEATURE_SETS",
    "FeatureBank",
    "FeatureEngine",
    "FeatureRows",
    "FeatureSet",
    "FeatureSpec",
    "Normalisation",
    "Normaliser",
    "NormaliserKind",
    "compute_features",
]
