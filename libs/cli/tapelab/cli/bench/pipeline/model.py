"""A model to decide with, made in a moment: it earns nothing, and every change of its mind is a signal.

Its size is that of a usual one (300 trees of 31 leaves), so that a call takes as long. It is fitted to noise, and
its threshold lets every expected return pass, whatever a round trip costs.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.common.pipeline import load_pipeline
from tapelab.common.serving.manifest import Calibration, Decision, LabelSpec, Manifest, encode_manifest
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.artifacts import ArtifactStore
from tapelab.common.storage.pointers import DEFAULT, Pointer, write_pointer
from tapelab.quant.features import FEATURE_SETS

_SECOND: Final = 1_000_000_000
_TREES: Final = 300
_LEAVES: Final = 31


async def set_model(settings: CommonSettings, redis: Any) -> None:
    """Store the model and point the champion of all symbols at it."""
    pair = load_pipeline(settings.config_dir).features[0]
    feature_set = FEATURE_SETS[pair.feature_set]
    store = ArtifactStore(settings.artifacts)
    manifest = Manifest(
        model_id="bench",
        feature_set=pair.feature_set,
        feature_set_id=feature_set.id,
        feature_names=feature_set.names,
        bar_spec=pair.bars,
        label=LabelSpec(horizon_ns=10 * _SECOND),
        calibration=Calibration(slope=0.01),
        decision=Decision(
            threshold=-1.0,
            cooldown_ns=0,
            max_hold_ns=3600 * _SECOND,
            flatten_ns=_SECOND,
            valid_ns=_SECOND,
            latency_ns=_SECOND // 10,
        ),
        training={},
        metrics={},
        backend="lightgbm",
        candidates={},
        files={"model.txt": store.put(_trees(len(feature_set.names)))},
        code_version="bench",
        created_ns=1,
    )
    digest = store.put(encode_manifest(manifest))
    pointer = Pointer(
        role="champion", symbol=DEFAULT, model_id=manifest.model_id, digest=digest, mode="live", version=1, set_ns=1
    )
    await write_pointer(redis, pointer, settings.namespace)


def _trees(features: int) -> bytes:
    import lightgbm

    random = np.random.default_rng(7)
    rows = random.normal(size=(4000, features)).astype(np.float32)
    params = {
        "objective": "binary",
        "num_leaves": _LEAVES,
        "min_data_in_leaf": 5,
        "verbosity": -1,
        "num_threads": 1,
        "seed": 7,
    }
    booster = lightgbm.train(params, lightgbm.Dataset(rows, random.integers(0, 2, len(rows))), _TREES)
    return str(booster.model_to_string()).encode()
