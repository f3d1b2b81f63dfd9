"""Who may talk to the gateway: a token, the session cookie made from it, and requests of our own page."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tapelab.api.problem import ApiError, problem_response
from tapelab.api.settings import ApiSettings, is_loopback, split
from tapelab.common.clock import Clock
from tapelab.common.errors import TapelabError

COOKIE: Final = "tapelab_session"
SESSION_S: Final = 12 * 3600
LOGIN_PATH: Final = "/auth/login"
_OPEN_PATHS: Final = frozenset({"/healthz", LOGIN_PATH})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Sessions:
    """Tokens and cookies.

    A cookie holds when it ends and a keyed hash of that, so a stolen one does not reveal the token and
    the gateway keeps no list of sessions.
    """

    def __init__(self, token: str, clock: Clock) -> None:
        self._token = token
        self._clock = clock

    @property
    def required(self) -> bool:
        """Whether one must log in at all."""
        return bool(self._token)

    def accepts_token(self, token: str) -> bool:
        """Whether this is the token."""
        return self.required and hmac.compare_digest(token.encode(), self._token.encode())

    def new_cookie(self) -> str:
        """The value of a session cookie that begins now."""
        end = str(self._clock.now_ns() // 1_000_000_000 + SESSION_S)
        return f"{end}.{self._mac(end)}"

    def accepts_cookie(self, value: str) -> bool:
        """Whether a cookie is one of ours and has not ended."""
        end, _, mac = value.partition(".")
        if not self.required or not end.isdigit() or not hmac.compare_digest(mac.encode(), self._mac(end).encode()):
            return False
        return int(end) > self._clock.now_ns() // 1_000_000_000

    def _mac(self, end: str) -> str:
        return hmac.new(self._token.encode(), f"tapelab-session:{end}".encode(), hashlib.sha256).hexdigest()


class Guard:
    """ASGI middleware that lets only permitted requests and WebSockets through.

    - With a token: a bearer token or a session cookie, except for health and login.
    - Without one (loopback): the ``Host`` must be a loopback name, so that a foreign page cannot reach the
      gateway through a name of its own that resolves to this machine.
    - Always: a WebSocket or a changing request that carries an ``Origin`` must come from this gateway's
      own pages or an allowed origin.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions
        self._origins = frozenset(split(settings.allowed_origins))
        self._hosts = frozenset(split(settings.allowed_hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge, then pass on or answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            # Closing before accepting answers the handshake with 403.
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.summary})
        else:
            await _answer(refusal, scope, headers)(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> ApiError | None:
        host = headers.get("host", "")
        if not self._sessions.required and not self._known_host(host):
            return _refused(
                403,
                "foreign_host",
                "this gateway is open on this machine only",
                expected="a loopback host name",
                actual=f"Host: {host}",
                remedy="use 127.0.0.1, set TAPELAB_API_ALLOWED_HOSTS, or set TAPELAB_API_TOKEN",
            )
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        if origin is not None and changes and not self._same_origin(origin, host):
            return _refused(
                403,
                "foreign_origin",
                "the request comes from another site's page",
                expected=f"an Origin of {host}",
                actual=f"Origin: {origin}",
                remedy="open the page from this gateway, or set TAPELAB_API_ALLOWED_ORIGINS",
            )
        if self._sessions.required and scope["path"] not in _OPEN_PATHS and not self._logged_in(headers):
            return _refused(
                401,
                "login_required",
                "login required",
                expected="a session cookie, or Authorization: Bearer with the gateway's token",
                actual="neither, or one that is wrong or has ended",
                remedy=f"log in at {LOGIN_PATH}",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return None

    def _known_host(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname or ""
        return is_loopback(name) or name in self._hosts

    def _same_origin(self, origin: str, host: str) -> bool:
        if origin in self._origins:
            return True
        parts = urlsplit(origin)
        try:
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
            target = urlsplit(f"//{host}")
            return bool(parts.hostname) and (parts.hostname, port) == (
                target.hostname,
                target.port or _DEFAULT_PORTS.get(parts.scheme),
            )
        except ValueError:
            return False

    def _logged_in(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._sessions.accepts_token(token.strip()):
            return True
        return any(self._sessions.accepts_cookie(value) for value in _cookies(headers.getlist("cookie")))


def _cookies(headers: Sequence[str]) -> list[str]:
    values = []
    for header in headers:
        try:
            found = SimpleCookie(header).get(COOKIE)
        except CookieError:
            continue
        if found is not None:
            values.append(found.value)
    return values


def _refused(
    status: int,
    code: str,
    summary: str,
    *,
    expected: str,
    actual: str,
    remedy: str,
    headers: dict[str, str] | None = None,
) -> ApiError:
    return ApiError(status, code, summary, expected=expected, actual=actual, remedy=remedy, headers=headers)


def _answer(refusal: TapelabError, scope: Scope, headers: Headers) -> Response:
    wants_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    if isinstance(refusal, ApiError) and refusal.status == 401 and wants_page:
        return RedirectResponse(f"{LOGIN_PATH}?next={quote(scope['path'])}", 303)
    return problem_response(refusal)
