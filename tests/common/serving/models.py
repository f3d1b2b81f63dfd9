"""A tiny real model for tests, trained once per process from a seed."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import lightgbm
import numpy as np

from tapelab.common.serving.manifest import Calibration, Decision, LabelSpec, Manifest

NAMES = ("a", "b", "c", "d")
SECOND = 1_000_000_000


class MemoryStore:
    """Artifacts in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self.files[sha256] = data
        return sha256

    def get(self, sha256: str) -> bytes:
        try:
            return self.files[sha256]
        except KeyError:
            raise FileNotFoundError(f"no artifact {sha256}") from None


def rows(n: int, seed: int = 1, features: int = len(NAMES)) -> np.ndarray:
    """float32 rows as they come from features."""
    return np.random.default_rng(seed).normal(size=(n, features)).astype(np.float32)


@functools.cache
def booster(seed: int = 0, features: int = len(NAMES)) -> lightgbm.Booster:
    """A binary classifier whose first feature matters."""
    rng = np.random.default_rng(seed)
    x = rows(600, seed, features)
    y = (x[:, 0] + 0.5 * rng.normal(size=len(x)) > 0).astype(int)
    params = {"objective": "binary", "num_leaves": 7, "verbosity": -1, "num_threads": 1, "seed": seed}
    return lightgbm.train(params, lightgbm.Dataset(x, y), 12)


@functools.cache
def regression(seed: int = 0) -> lightgbm.Booster:
    """A regression on returns, whose first feature matters."""
    rng = np.random.default_rng(seed)
    x = rows(600, seed)
    y = 1e-4 * (x[:, 0] + 0.5 * rng.normal(size=len(x)))
    params = {"objective": "regression", "num_leaves": 7, "verbosity": -1, "num_threads": 1, "seed": seed}
    return lightgbm.train(params, lightgbm.Dataset(x, y), 12)


@functools.cache
def model_txt(seed: int = 0, features: int = len(NAMES)) -> bytes:
    """Its text."""
    return booster(seed, features).model_to_string().encode()


@functools.cache
def model_onnx(seed: int = 0, *, zipmap: bool = False) -> bytes:
    """Its ONNX form."""
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    model = convert_lightgbm(booster(seed), initial_types=[("x", FloatTensorType([None, len(NAMES)]))], zipmap=zipmap)
    return model.SerializeToString()


def manifest(files: dict[str, str], **changes: Any) -> Manifest:
    """A manifest around model files."""
    fields: dict[str, Any] = {
        "model_id": "lightgbm-test",
        "feature_set": "tiny",
        "feature_set_id": "0123456789abcdef",
        "feature_names": NAMES,
        "bar_spec": "tick:50",
        "label": LabelSpec(horizon_ns=10 * SECOND),
        "calibration": Calibration(slope=0.01),
        "decision": Decision(
            threshold=0.0,
            cooldown_ns=2 * SECOND,
            max_hold_ns=20 * SECOND,
            flatten_ns=30 * SECOND,
            valid_ns=SECOND,
            latency_ns=SECOND // 2,
        ),
        "training": {"seed": 0},
        "metrics": {},
        "backend": "lightgbm",
        "candidates": {},
        "files": files,
        "code_version": "0.1.0",
        "created_ns": 1,
        **changes,
    }
    return Manifest(**fields)
