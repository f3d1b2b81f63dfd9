"""Manifests for tests."""

from __future__ import annotations

from tapelab.common.serving.manifest import Calibration, Decision, LabelSpec, Manifest


def manifest(model_id: str = "m1", **changes: object) -> Manifest:
    """A small manifest that differs where told."""
    fields: dict = {
        "model_id": model_id,
        "feature_set": "core",
        "feature_set_id": "0123456789abcdef",
        "feature_names": ("a", "b"),
        "bar_spec": "tick:50",
        "label": LabelSpec(horizon_ns=10_000_000_000),
        "calibration": Calibration(slope=1e-7),
        "decision": Decision(
            threshold=0.0, cooldown_ns=0, max_hold_ns=60_000_000_000, flatten_ns=0, valid_ns=10**9, latency_ns=0
        ),
        "training": {"seed": 7},
        "metrics": {"auc": 0.55},
        "backend": "lightgbm",
        "candidates": {},
        "files": {},
        "code_version": "0.1.0",
        "created_ns": 1_700_000_000_000_000_001,
        **changes,
    }
    return Manifest(**fields)
