"""``config/pipeline.yaml``: which bars and feature sets are live, and their lineages."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

import msgspec

from tapelab.common.errors import ConfigError
from tapelab.common.instruments import Instrument, Session
from tapelab.common.yaml_config import load_yaml


class Pair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A feature set computed over a bar specification."""

    bars: str
    feature_set: str


class Pipeline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bar specifications and (bars, feature set) pairs that are computed live, for every symbol."""

    bars: tuple[str, ...]
    features: tuple[Pair, ...]


def load_pipeline(config_dir: str | Path) -> Pipeline:
    """Read ``pipeline.yaml``.

    Raises:
        ConfigError: the file does not fit, or a pair names bars that are not live.
    """
    path = Path(config_dir) / "pipeline.yaml"
    pipeline = load_yaml(path, Pipeline)
    for pair in pipeline.features:
        if pair.bars not in pipeline.bars:
            raise ConfigError(
                f"{path}: feature set {pair.feature_set} is over bars that are not live",
                expected=f"one of {', '.join(pipeline.bars)}",
                actual=pair.bars,
                remedy="add the specification under bars",
            )
    return pipeline


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


def bar_lineage(spec: str, instrument: Instrument, session: Session, tick_lineage: str) -> str:
    """Lineage of bars: everything their bytes depend on besides the prints."""
    config = msgspec.json.encode((sorted(instrument.bar_trade_types), session), order="deterministic").decode()
    return _digest("bars", version("tapelab"), spec, config, tick_lineage)


def feature_lineage(feature_set_id: str, instrument: Instrument, bars: str) -> str:
    """Lineage of feature vectors; ``bars`` is the lineage of the bars."""
    return _digest("features", version("tapelab"), feature_set_id, repr(instrument.tick_size), bars)


def signal_lineage(decision: str, features: str, release: str = "") -> str:
    """Lineage of signals; ``decision`` is the canonical text of the decision settings.

    ``release`` is the one that decided, by default this one.
    """
    return _digest("signals", release or version("tapelab"), decision, features)


def tick_lineage(source: str, options: str) -> str:
    """Lineage of prints: the source's kind and the options that change what it emits."""
    return _digest("ticks", source, options)
