"""Halts: symbols that may hold no position."""

from __future__ import annotations

from fastapi import APIRouter, Response

from tapelab.api import schemas
from tapelab.api.deps import Given, check_symbol
from tapelab.common.storage.halts import ALL_SYMBOLS, Halt

router = APIRouter(tags=["halts"])


def _item(symbol: str, halt: Halt, warning: str = "") -> schemas.HaltItem:
    return schemas.HaltItem(symbol=symbol, reason=halt.reason, by=halt.by, set_ns=str(halt.set_ns), warning=warning)


@router.get("/ml/halts")
async def halts(deps: Given) -> schemas.HaltList:
    """All halts."""
    found = await deps.halts.current()
    return schemas.HaltList(items=[_item(symbol, halt) for symbol, halt in found.items()], next=None, seq="0")


@router.post("/ml/halts/{symbol}")
async def halt(deps: Given, symbol: str, request: schemas.HaltRequest) -> schemas.HaltItem:
    """Halt a symbol, or all with ``*``: inference goes flat and stays so until the halt is ended.

    ``warning`` says what is still missing where PostgreSQL or Redis was away; the gateway completes it.
    """
    check_symbol(deps, symbol, also=ALL_SYMBOLS)
    made = Halt(reason=request.reason, by="api", set_ns=deps.clock.now_ns())
    warning = (await deps.halts.halt(symbol, made)).warning
    if warning:
        deps.log.warning(f"halt of {symbol}: {warning}")
    await deps.status.refresh_stores()
    return _item(symbol, made, warning)


@router.delete("/ml/halts/{symbol}", status_code=204)
async def resume(deps: Given, symbol: str) -> Response:
    """End a halt; ending one that does not exist is fine."""
    await deps.halts.resume(symbol, Halt(reason="", by="api", set_ns=deps.clock.now_ns()))
    await deps.status.refresh_stores()
    return Response(status_code=204)
