"""Health and login."""

from __future__ import annotations

import html
from typing import Final
from urllib.parse import parse_qs

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse, RedirectResponse

from tapelab.api import schemas
from tapelab.api.auth import COOKIE, SESSION_S
from tapelab.api.deps import Given
from tapelab.api.page import PAGE_PATH
from tapelab.api.problem import ApiError, invalid

router = APIRouter(tags=["session"])

_FORM: Final = "application/x-www-form-urlencoded"
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>tapelab: log in</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; margin: 1rem }}
form {{ display: grid; gap: .75rem; width: min(22rem, 100%) }}
input, button {{ font: inherit; padding: .5rem .75rem; min-height: 2.5rem; box-sizing: border-box; width: 100% }}
[role=alert] {{ color: light-dark(#b00020, #ff8a80); margin: 0 }}
</style></head><body><main><form method="post" action="/auth/login?next={next}">
<h1>tapelab</h1>{alert}
<label>Token <input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Log in</button></form></main></body></html>
"""
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/healthz")
async def healthz() -> schemas.Health:
    """The gateway lives; whether it can work is said by ``/ml/data/status`` and its health port."""
    return schemas.Health(service="api", alive=True)


@router.get("/auth/login", include_in_schema=False)
async def login_page(next: str = PAGE_PATH) -> HTMLResponse:
    """The form."""
    return _form(next, "")


@router.post(
    "/auth/login",
    status_code=204,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/LoginRequest"}}},
        }
    },
)
async def login(deps: Given, request: Request, next: str = PAGE_PATH) -> Response:
    """Exchange the token for a session cookie. A form is answered with the page, JSON with 204."""
    is_form = request.headers.get("content-type", "").startswith(_FORM)
    token = _token(await request.body(), is_form)
    if not deps.sessions.accepts_token(token):
        await deps.clock.sleep(0.5)  # guessing gets no faster than this per connection
        if is_form and deps.sessions.required:
            return _form(next, '<p role="alert">That is not the token.</p>', 401)
        raise ApiError(
            401,
            "wrong_token",
            "login failed",
            expected="the gateway's token" if deps.sessions.required else "no login: this gateway is open on loopback",
            actual="another text",
            remedy="use the value of TAPELAB_API_TOKEN",
        )
    response: Response = RedirectResponse(_local(next), 303) if is_form else Response(status_code=204)
    response.set_cookie(
        COOKIE,
        deps.sessions.new_cookie(),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/auth/logout", status_code=204)
async def logout() -> Response:
    """Forget the session cookie."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _token(body: bytes, is_form: bool) -> str:
    if is_form:
        return parse_qs(body.decode(errors="replace")).get("token", [""])[0]
    try:
        fields = msgspec.json.decode(body, type=dict[str, str])
        return fields["token"]
    except (msgspec.MsgspecError, KeyError) as error:
        raise invalid("body", expected='{"token": "..."}', actual=f"{len(body)} bytes: {error}") from error


def _local(next: str) -> str:
    """A path of this gateway, whatever the request says."""
    return next if next.startswith("/") and not next.startswith(("//", "/\\")) else PAGE_PATH


def _form(next: str, alert: str, status: int = 200) -> HTMLResponse:
    body = _PAGE.format(next=html.escape(_local(next), quote=True), alert=alert)
    return HTMLResponse(body, status, {"Content-Security-Policy": _POLICY})
