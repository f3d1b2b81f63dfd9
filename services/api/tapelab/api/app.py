"""The FastAPI application."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.middleware.gzip import GZipMiddleware

from tapelab.api import problem, schemas, ws
from tapelab.api.auth import Guard
from tapelab.api.deps import Deps
from tapelab.api.middleware import BodyLimit, SecurityHeaders
from tapelab.api.page import Page
from tapelab.api.routes import experiments, halts, market, models, session

_PROBLEM: Any = {
    "description": "What is wrong: expected, actual, remedy.",
    "content": {problem.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def create_app(deps: Deps) -> FastAPI:
    """The gateway over its dependencies; the caller runs the background work (:mod:`tapelab.api.gateway`)."""
    app = new_app()
    app.state.deps = deps
    ws.define_channels(deps)
    app.router.default = Page(deps.settings.page_dir)
    # The last one added is the first one asked.
    app.add_middleware(GZipMiddleware, minimum_size=1024)
    app.add_middleware(BodyLimit)
    app.add_middleware(Guard, settings=deps.settings, sessions=deps.sessions)
    app.add_middleware(SecurityHeaders)
    return app


def new_app() -> FastAPI:
    """Routes and errors without anything behind them: enough to describe the API."""
    app = FastAPI(
        title="tapelab gateway",
        version=version("tapelab"),
        summary="The flow from tape to signal, experiments and models.",
        docs_url=None,  # their scripts come from another site, which the content security policy forbids
        redoc_url=None,
        generate_unique_id_function=_operation_id,
    )
    problem.install(app)
    for module in (session, market, experiments, models, halts):
        app.include_router(module.router)
    app.include_router(ws.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The description, with problems in place of the framework's own errors."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        components = made.setdefault("components", {}).setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            components.pop(name, None)
        for model in (schemas.Problem, schemas.LoginRequest):
            own = model.model_json_schema(ref_template="#/components/schemas/{model}")
            components.update(own.pop("$defs", {}))
            components[model.__name__] = own
        for operations in made["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = _PROBLEM
        app.openapi_schema = made
    return app.openapi_schema
