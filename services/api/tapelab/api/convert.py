"""From what the stores hold to what the gateway gives."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import ValidationError

from tapelab.api import schemas
from tapelab.common.schemas.events import Event
from tapelab.common.serving.manifest import Manifest
from tapelab.common.storage.jobs import Experiment, ExperimentSummary
from tapelab.common.storage.pointers import Pointer
from tapelab.common.storage.registry import GateRule, ModelRow, PointerChange


def pointer_item(pointer: Pointer) -> schemas.PointerItem:
    """A pointer."""
    return schemas.PointerItem(
        role=pointer.role,
        symbol=pointer.symbol,
        model_id=pointer.model_id,
        digest=pointer.digest,
        mode=pointer.mode,
        version=pointer.version,
        set_ns=str(pointer.set_ns),
    )


def gate_rules(rules: list[GateRule]) -> list[schemas.GateRule]:
    """Gate rules."""
    return [schemas.GateRule(**msgspec.to_builtins(rule)) for rule in rules]


def experiment_item(row: ExperimentSummary) -> schemas.ExperimentItem:
    """An experiment in a list."""
    return schemas.ExperimentItem(**_experiment(row, row.gate, row.model_id))


def experiment_detail(row: Experiment, events: list[Event]) -> schemas.ExperimentDetail:
    """An experiment with everything about it."""
    result = row.result or {}
    return schemas.ExperimentDetail(
        **_experiment(row, result.get("gate"), result.get("model_id")),
        config=row.config,
        result=row.result,
        events=[
            schemas.EventItem(seq=str(event.seq), kind=event.kind, ts_ns=str(event.ts_ns), data=event.data)
            for event in events
        ],
    )


def model_item(row: ModelRow, pointers: list[Pointer]) -> schemas.ModelItem:
    """A model in a list."""
    return schemas.ModelItem(**_model(row, pointers))


def model_detail(row: ModelRow, pointers: list[Pointer], history: list[PointerChange]) -> schemas.ModelDetail:
    """A model with everything about it."""
    manifest: dict[str, Any] = msgspec.to_builtins(row.manifest)
    manifest["created_ns"] = str(row.manifest.created_ns)
    return schemas.ModelDetail(
        **_model(row, pointers),
        manifest=manifest,
        history=[
            schemas.PointerChangeItem(pointer=pointer_item(change.pointer), action=change.action, reason=change.reason)
            for change in history
            if change.pointer.model_id == row.model_id
        ],
    )


def _experiment(row: Experiment | ExperimentSummary, gate: Any, model_id: Any) -> dict[str, Any]:
    error = row.error
    try:
        judged = None if gate is None else schemas.Gate.model_validate(gate)
    except ValidationError as problem:
        judged = None
        error = f"{error}; " if error else ""
        error += f"the gate's result cannot be read: {problem.errors()[0]['loc']}: {problem.errors()[0]['msg']}"
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "created_ns": str(row.created_ns),
        "updated_ns": str(row.updated_ns),
        "progress": row.progress,
        "stage": row.stage,
        "model_id": None if model_id is None else str(model_id),
        "gate": judged,
        "error": error,
    }


def _model(row: ModelRow, pointers: list[Pointer]) -> dict[str, Any]:
    manifest: Manifest = row.manifest
    return {
        "model_id": row.model_id,
        "digest": row.digest,
        "experiment_id": row.experiment_id,
        "created_ns": str(row.created_ns),
        "kind": manifest.kind,
        "architecture": manifest.architecture,
        "feature_set": manifest.feature_set,
        "bar_spec": manifest.bar_spec,
        "backend": manifest.backend,
        "metrics": manifest.metrics,
        "gate": None if row.gate is None else schemas.Gate(passed=row.passed, rules=gate_rules(row.gate)),
        "pointers": [pointer_item(pointer) for pointer in pointers if pointer.model_id == row.model_id],
    }
