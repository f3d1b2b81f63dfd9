"""The AI Lab page: the static export of ``frontend/``, with a content security policy of its own scripts."""

from __future__ import annotations

import base64
import hashlib
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE_PATH: Final = "/dashboard/ai-lab/"
_BUILD: Final = "make page"
#: Paths that belong to the API: what is not found there is a problem, not a page.
_API_PREFIXES: Final = ("ml", "ws", "auth")


class _InlineScripts(HTMLParser):
    """Collects the text of scripts without a ``src``."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.texts: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a script."""
        self._inside = tag == "script" and not any(name == "src" for name, _ in attrs)
        if self._inside:
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        """End a script."""
        self._inside = False

    def handle_data(self, data: str) -> None:
        """Take a script's text."""
        if self._inside:
            self.texts[-1] += data


def content_security_policy(html: str) -> str:
    """The policy of a page: its own files, and exactly the inline scripts it was built with.

    Styles may be inline, because charts set them on elements; WebSockets go to the page's own origin.
    """
    parser = _InlineScripts()
    # A browser hashes a script after turning its line ends into \n.
    parser.feed(html.replace("\r\n", "\n").replace("\r", "\n"))
    parser.close()
    digests = sorted({hashlib.sha256(text.encode()).digest() for text in parser.texts})
    hashes = "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'self'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


class Page(StaticFiles):
    """Serves the export's folder. Policies are computed at start and again when a file has changed."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(directory=str(folder), html=True, check_dir=False)
        self._folder = Path(folder).resolve()
        self._policies: dict[Path, tuple[int, str]] = {}
        for path in sorted(self._folder.rglob("*.html")):
            self._policy(path)

    @property
    def built(self) -> bool:
        """Whether the page is there."""
        return (self._folder / PAGE_PATH.strip("/") / "index.html").is_file()

    async def check_config(self) -> None:
        """Nothing: a missing folder is answered per request, and may appear later."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file of a path, the redirect to the page, or why there is none."""
        if path.split(os.sep)[0] in _API_PREFIXES:
            raise HTTPException(404)
        if scope["method"] in ("GET", "HEAD"):
            if path == ".":
                return RedirectResponse(PAGE_PATH, 307)
            if not self.built:
                return PlainTextResponse(
                    f"The page is not built: expected {self._folder}{PAGE_PATH}index.html, got no such file.\n"
                    f"Build it with: {_BUILD}\nThe API works without it; see /openapi.json.\n",
                    503,
                )
        response = await super().get_response(path, scope)
        if response.status_code == 404:
            self._complete(response, self._folder / "404.html")
        return response

    def file_response(
        self, full_path: Any, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file with its policy and how long it may be kept."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        self._complete(response, Path(full_path))
        return response

    def _complete(self, response: Response, path: Path) -> None:
        if path.suffix == ".html":
            response.headers["Content-Security-Policy"] = self._policy(path)
        # Names under _next/static carry a hash of their content; everything else may change with a build.
        forever = "_next/static" in path.as_posix()
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if forever else "no-cache"

    def _policy(self, path: Path) -> str:
        changed_ns = path.stat().st_mtime_ns
        known = self._policies.get(path)
        if known is None or known[0] != changed_ns:
            known = self._policies[path] = (changed_ns, content_security_policy(path.read_text(encoding="utf-8")))
        return known[1]
