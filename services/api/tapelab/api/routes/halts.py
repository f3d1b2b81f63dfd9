"""Halts: symbols that may hold no position."""

from __future__ import annotations

from fastapi import APIRouter, Response

from tapelab.api import schemas
from tapelab.api.deps import Given, check_symbol
from tapelab.common.storage.halts import ALL_SYMBOLS, Halt, clear_halt, read_halts, set_halt

router = APIRouter(tags=["halts"])


def _item(symbol: str, halt: Halt) -> schemas.HaltItem:
    return schemas.HaltItem(symbol=symbol, reason=halt.reason, by=halt.by, set_ns=str(halt.set_ns))


@router.get("/ml/halts")
async def halts(deps: Given) -> schemas.HaltList:
    """All halts."""
    found = await read_halts(deps.redis, deps.namespace)
    return schemas.HaltList(items=[_item(symbol, halt) for symbol, halt in found.items()], next=None, seq="0")


@router.post("/ml/halts/{symbol}")
async def halt(deps: Given, symbol: str, request: schemas.HaltRequest) -> schemas.HaltItem:
    """Halt a symbol, or all with ``*``: inference goes flat and stays so until the halt is ended."""
    check_symbol(deps, symbol, also=ALL_SYMBOLS)
    made = Halt(reason=request.reason, by="api", set_ns=deps.clock.now_ns())
    await set_halt(deps.redis, symbol, made, deps.namespace)
    await deps.status.refresh_stores()
    return _item(symbol, made)


@router.delete("/ml/halts/{symbol}", status_code=204)
async def resume(deps: Given, symbol: str) -> Response:
    """End a halt; ending one that does not exist is fine."""
    await clear_halt(deps.redis, symbol, deps.namespace)
    await deps.status.refresh_stores()
    return Response(status_code=204)
