"""Experiments: start one, watch them, stop one."""

from __future__ import annotations

import re
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Query, Response

from tapelab.api import schemas
from tapelab.api.convert import experiment_detail, experiment_item
from tapelab.api.deps import Given, check_symbol
from tapelab.api.problem import invalid
from tapelab.common.experiments.reading import ConfigMisfit, parse_config
from tapelab.common.storage.jobs import NAME_PATTERN

router = APIRouter(tags=["experiments"])


@router.get("/ml/experiments")
async def experiments(
    deps: Given,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(pattern=r"^\d{1,18}$", description="``next`` of the page before.")] = None,
) -> schemas.ExperimentList:
    """Experiments, newest first."""
    rows = await deps.jobs.summaries(limit, None if cursor is None else int(cursor))
    return schemas.ExperimentList(
        items=[experiment_item(row) for row in rows],
        next=str(rows[-1].number) if len(rows) == limit else None,
        seq=deps.hub.seq(deps.experiments.CHANNEL),
    )


@router.post("/ml/experiments", status_code=201)
async def create_experiment(
    deps: Given, request: schemas.ExperimentRequest, response: Response
) -> schemas.ExperimentDetail:
    """Queue an experiment; one that the trainer could not run is refused, by the name of the field."""
    name = request.config.get("name")
    if not isinstance(name, str) or not re.match(NAME_PATTERN, name):
        raise invalid(
            "config.name",
            expected="1 to 100 letters, digits, '-', '_' and '.', beginning with a letter or a digit",
            actual=ascii(name)[:200],
        )
    _check(deps, request.config)
    try:
        row = await deps.jobs.create(request.config, name)
    except asyncpg.UntranslatableCharacterError as error:
        raise invalid("config", expected="texts without NUL characters", actual="one with \\u0000") from error
    event = await deps.events.append(row.id, "status", {"status": row.status, "name": row.name})
    await deps.experiments.refresh()
    response.headers["Location"] = f"/ml/experiments/{row.id}"
    return experiment_detail(row, [event])


def _check(deps: Given, raw: dict[str, Any]) -> None:
    """Read the configuration as the trainer will; symbols must be those of an instrument.

    Raises:
        ApiError: it does not fit.
    """
    try:
        config = parse_config(raw)
    except ConfigMisfit as error:
        field = f"config.{error.field}" if error.field else "config"
        raise invalid(field, expected=error.expected, actual=error.actual, remedy=error.remedy) from error
    for place, symbol in (
        *((f"config.symbols[{i}]", symbol) for i, symbol in enumerate(config.symbols)),
        *((f"config.spans[{i}].symbol", span.symbol) for i, span in enumerate(config.spans)),
    ):
        check_symbol(deps, symbol, field=place)


@router.post("/ml/experiments/{id}/actions", status_code=202)
async def act_on_experiment(deps: Given, id: str, request: schemas.ExperimentAction) -> schemas.ExperimentDetail:
    """Stop an experiment that is queued or running.

    It is stopped at once, and nothing of it is registered any more; the trainer gives a running one up within
    seconds. One that has ended is a conflict.
    """
    row, event = await deps.jobs.stop(id, request.reason)
    await deps.events.announce(event)
    await deps.experiments.refresh()
    return experiment_detail(row, [event])


@router.get("/ml/experiments/{id}")
async def experiment(deps: Given, id: str, after_seq: Annotated[int, Query(ge=0)] = 0) -> schemas.ExperimentDetail:
    """One experiment with its configuration, its result and up to 1,000 events after ``after_seq``."""
    row = await deps.jobs.get(id)
    return experiment_detail(row, await deps.jobs.events(id, after_seq))
