"""Errors as ``application/problem+json``: what was expected, what came, what to do."""

from __future__ import annotations

import logging
import re
from typing import Any

import asyncpg
import msgspec
import redis.exceptions
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tapelab.common.errors import RegistryError, TapelabError
from tapelab.common.storage.jobs import UnknownExperiment
from tapelab.common.storage.postgres import DatabaseAway, is_away
from tapelab.common.storage.registry import UnknownModel

MEDIA_TYPE = "application/problem+json"
_LATER = {"Retry-After": "5"}
_log = logging.getLogger("tapelab.api")


class ApiError(TapelabError):
    """A request that cannot be served, with its HTTP status."""

    def __init__(
        self,
        status: int,
        code: str,
        summary: str,
        *,
        expected: str,
        actual: str,
        remedy: str,
        extra: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(summary, expected=expected, actual=actual, remedy=remedy)
        self.status = status
        self.code = code
        self.extra = extra or {}
        self.headers = headers or {}


def invalid(field: str, *, expected: str, actual: str, remedy: str = "correct the field") -> ApiError:
    """422 for one field of a request."""
    return ApiError(
        422,
        "invalid_request",
        f"{field} is not valid",
        expected=expected,
        actual=actual,
        remedy=remedy,
        extra={"field": field},
    )


def problem_response(error: TapelabError) -> Response:
    """The response of an error."""
    if isinstance(error, ApiError):
        status, code, extra, headers = error.status, error.code, error.extra, error.headers
    else:
        status, code, extra, headers = _status(error), _snake(type(error).__name__), {}, {}
        if status == 503:
            headers = dict(_LATER)
    body = {
        "code": code,
        "title": error.summary,
        "expected": error.expected,
        "actual": error.actual,
        "remedy": error.remedy,
        "status": status,
        **extra,
    }
    return Response(msgspec.json.encode(body), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Turn every failure of a route into a problem."""

    @app.exception_handler(TapelabError)
    async def tapelab_error(request: Request, error: TapelabError) -> Response:
        if not isinstance(error, ApiError) and _status(error) >= 500:
            _log.error(str(error))
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> Response:
        first: dict[str, Any] = dict(error.errors()[0])
        place = [str(part) for part in first["loc"]]
        field = ".".join(place[1:] if len(place) > 1 and place[0] in ("body", "query", "path") else place)
        if first["type"] == "json_invalid":
            return problem_response(invalid("body", expected="JSON", actual=str(first.get("ctx", {}).get("error", ""))))
        given = "nothing" if first["type"] == "missing" else repr(first.get("input"))[:200]
        return problem_response(invalid(field or "body", expected=str(first["msg"]), actual=given))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return problem_response(_of_http(request, error))

    @app.exception_handler(asyncpg.DataError)
    async def unstorable(request: Request, error: asyncpg.DataError) -> Response:
        # A NUL in a path, a lone surrogate in a text: nothing that a person types, and no fault of the store.
        return problem_response(
            invalid("the request", expected="text that PostgreSQL can hold", actual=str(error)[:200])
        )

    for kind in (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, redis.exceptions.RedisError):
        app.add_exception_handler(kind, _store_error)

    @app.exception_handler(Exception)
    async def other_error(request: Request, error: Exception) -> Response:
        return problem_response(
            ApiError(
                500,
                "internal_error",
                "the gateway failed",
                expected="an answer",
                actual=type(error).__name__,
                remedy="read the gateway's log",
            )
        )


async def _store_error(request: Request, error: Exception) -> Response:
    # An outage is no riddle; and there may be a request a second while it lasts.
    away = is_away(error) or isinstance(error, redis.exceptions.RedisError)
    _log.warning(f"a store is away: {type(error).__name__}: {error}", exc_info=None if away else error)
    return problem_response(
        ApiError(
            503,
            "store_unavailable",
            "PostgreSQL or Redis does not answer",
            expected="both stores to be up",
            actual=f"{type(error).__name__}: {error}",
            remedy="see the services in /ml/data/status; a promotion that was recorded reaches Redis by itself",
            headers=dict(_LATER),
        )
    )


def _of_http(request: Request, error: HTTPException) -> ApiError:
    what = f"{request.method} {request.url.path}"
    if error.status_code == 404:
        summary, expected, remedy = "not found", "a path of this gateway", "see /openapi.json for the paths there are"
    elif error.status_code == 405:
        summary, expected, remedy = (
            "method not allowed",
            (error.headers or {}).get("Allow", "another method"),
            "see /openapi.json",
        )
    else:
        summary, expected, remedy = str(error.detail), "a request that can be served", "see /openapi.json"
    return ApiError(
        error.status_code,
        _snake(summary),
        summary,
        expected=expected,
        actual=what,
        remedy=remedy,
        headers=dict(error.headers or {}),
    )


def _status(error: TapelabError) -> int:
    if isinstance(error, UnknownExperiment | UnknownModel):
        return 404
    if isinstance(error, RegistryError):
        return 409
    if isinstance(error, DatabaseAway):
        return 503
    return 500


def _snake(name: str) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
