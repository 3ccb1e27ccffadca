"""The page `/docs` and `/openapi.json`: our own files and one document, for everybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

import msgspec
from aiohttp import web

from dispatcher.api import problem_types
from dispatcher.api.openapi import Json

_TYPES = {"docs.html": "text/html", "docs.css": "text/css", "docs.js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def attach(app: web.Application, document: Json) -> None:
    """Let aiohttp answer the pages of the documentation, which describe `document`."""
    body = msgspec.json.encode(document)
    app.router.add_get("/openapi.json", _always(body, "application/json"))
    for path, name in (("/docs", "docs.html"), ("/docs/docs.css", "docs.css"), ("/docs/docs.js", "docs.js")):
        content = files(__package__).joinpath("static", name).read_bytes()
        app.router.add_get(path, _always(content, _TYPES[name]))
    app.router.add_get(problem_types.PATH, _always(problem_types.page(), "text/html"))
    app.router.add_get("/", _to_docs)


def _always(body: bytes, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": _POLICY}
    charset = "utf-8" if content_type.startswith("text/") else None

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset=charset, headers=headers)

    return answer


async def _to_docs(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/docs"})
