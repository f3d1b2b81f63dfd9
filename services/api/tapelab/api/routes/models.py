"""Models: what there is, what is in use, and the one step that changes it."""

from __future__ import annotations

from fastapi import APIRouter

from tapelab.api import schemas
from tapelab.api.convert import gate_rules, model_detail, model_item, pointer_item
from tapelab.api.deps import Deps, Given, check_symbol
from tapelab.api.problem import ApiError
from tapelab.common.storage.pointers import DEFAULT, Pointer
from tapelab.common.storage.registry import ModelRow

router = APIRouter(tags=["models"])


@router.get("/ml/models")
async def models(deps: Given) -> schemas.ModelList:
    """The newest models, newest first, with the roles they hold."""
    pointers = await deps.registry.pointers()
    items = [model_item(row, pointers) for row in await deps.registry.models()]
    return schemas.ModelList(items=items, next=None, seq=str(max((p.version for p in pointers), default=0)))


@router.post("/ml/models/rollback")
async def rollback(deps: Given, request: schemas.RollbackRequest) -> schemas.PointerItem:
    """Point a role back to the model it pointed to before."""
    check_symbol(deps, request.symbol, also=DEFAULT)
    pointer = await deps.registry.rollback(
        request.role, request.symbol, reason=request.reason, retired_too=request.force
    )
    return await _changed(deps, pointer, "rollback", request.reason)


@router.get("/ml/models/{model_id}")
async def model(deps: Given, model_id: str) -> schemas.ModelDetail:
    """One model with its manifest and the history of its roles."""
    row = await deps.registry.model(model_id)
    return model_detail(row, await deps.registry.pointers(), await deps.registry.history())


@router.post("/ml/models/{model_id}/promote")
async def promote(deps: Given, model_id: str, request: schemas.PromoteRequest) -> schemas.PointerItem:
    """Point a role to a model. Only a model that passed the gate may go live; any may run as a shadow."""
    check_symbol(deps, request.symbol, also=DEFAULT)
    row = await deps.registry.model(model_id)
    _check_pair(deps, row)
    if request.mode != "shadow":
        _check_gate(row, request.mode)
    pointer = await deps.registry.set_pointer(
        request.role, model_id, request.mode, request.symbol, reason=request.reason, gate=row.gate or ()
    )
    return await _changed(deps, pointer, "set", request.reason)


def _check_pair(deps: Deps, row: ModelRow) -> None:
    live = [(pair.bars, pair.feature_set) for pair in deps.pipeline.features]
    if (row.manifest.bar_spec, row.manifest.feature_set) not in live:
        raise ApiError(
            409,
            "pair_not_live",
            f"{row.model_id} has no input",
            expected="one of " + ", ".join(f"{feature_set} over {bars}" for bars, feature_set in live),
            actual=f"{row.manifest.feature_set} over {row.manifest.bar_spec}",
            remedy="add the pair to config/pipeline.yaml and restart, or train on one that is live",
        )


def _check_gate(row: ModelRow, mode: str) -> None:
    if row.passed:
        return
    failed = [rule for rule in row.gate or () if not rule.passed]
    raise ApiError(
        409,
        "gate_failed" if row.gate else "gate_missing",
        f"{row.model_id} may not go {mode}",
        expected="every rule of the gate to hold",
        actual=f"{', '.join(rule.id for rule in failed)} failed" if failed else "the gate has not judged it",
        remedy="promote it with mode=shadow, or train a better one",
        extra={"rules": [rule.model_dump() for rule in gate_rules(failed)]},
    )


async def _changed(deps: Deps, pointer: Pointer, action: str, reason: str) -> schemas.PointerItem:
    item = pointer_item(pointer)
    await deps.events.append(
        pointer.model_id, "promotion", {"action": action, "reason": reason, "pointer": item.model_dump()}
    )
    await deps.status.refresh_stores()
    return item
