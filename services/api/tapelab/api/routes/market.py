"""The flow: status, signals, bars."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from tapelab.api import schemas
from tapelab.api.deps import Given
from tapelab.api.live import KEPT_BARS, KEPT_SIGNALS
from tapelab.api.problem import invalid

router = APIRouter(tags=["market"])


@router.get("/ml/data/status")
async def data_status(deps: Given) -> schemas.DataStatus:
    """Services, symbols, counters, rates, latency, models and dead letters."""
    return deps.status.build()


@router.get("/ml/signals")
async def signals(
    deps: Given,
    symbol: str | None = None,
    mode: Literal["live", "canary", "shadow"] | None = None,
    limit: Annotated[int, Query(ge=1, le=KEPT_SIGNALS)] = 100,
) -> schemas.SignalList:
    """The newest signals, oldest first."""
    found = [
        item
        for item in deps.live.signals
        if (symbol is None or item["symbol"] == symbol) and (mode is None or item["mode"] == mode)
    ]
    items = [schemas.SignalItem.model_validate(item) for item in found[-limit:]]
    return schemas.SignalList(items=items, next=None, seq=deps.hub.seq("signals"))


@router.get("/ml/bars")
async def bars(
    deps: Given,
    symbol: str,
    spec: str | None = None,
    limit: Annotated[int, Query(ge=1, le=KEPT_BARS)] = KEPT_BARS,
) -> schemas.BarList:
    """The newest bars of a symbol, oldest first; without ``spec`` those of the first live specification."""
    chosen = spec or deps.live.page_spec
    if chosen not in deps.live.specs:
        raise invalid(
            "spec",
            expected=f"one of {', '.join(deps.live.specs)}",
            actual=chosen,
            remedy="ask for one of these, or add the specification to config/pipeline.yaml",
        )
    items = [schemas.BarItem.model_validate(item) for item in deps.live.bars(symbol, chosen)[-limit:]]
    seq = deps.hub.seq(f"bars:{symbol}") if chosen == deps.live.page_spec else "0"
    return schemas.BarList(items=items, next=None, seq=seq, spec=chosen, specs=list(deps.live.specs))
