"""The native API as an aiohttp application."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog
from aiohttp import web

from dispatcher.api import docs, routing
from dispatcher.api.http_server import Runner
from dispatcher.api.openapi import openapi
from dispatcher.api.problems import MAX_BODY, logged_path, problem_response
from dispatcher.api.routes import routes
from dispatcher.api.services import Services
from dispatcher.targets.pages import PageKind

log = structlog.get_logger("dispatcher.api")

IDLE = 60.0
"""Seconds that a connection may take to send a request's headers, or be without one."""

_HEADERS = {
    "Server": "Dispatcher",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What every answer carries unless it says otherwise: nothing is kept, framed, guessed or passed on."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


Extension: TypeAlias = Callable[[web.Application, Services], None]
"""Adds routes of other systems' shapes to the application."""


def build(services: Services, extensions: Sequence[Extension] = ()) -> web.Application:
    """The application with all routes; it holds nothing that must be closed."""
    app = web.Application(middlewares=[_answer], client_max_size=MAX_BODY + 1)
    table = routes(services.kinds)
    routing.attach(app, table, services)
    docs.attach(app, openapi(table))
    for kind in services.kinds.values():
        if isinstance(kind, PageKind):
            app.add_routes(kind.pages(services.engine.wake))
    for attach in extensions:
        attach(app, services)
    return app


def runner(
    services: Services, extensions: Sequence[Extension] = (), idle: float = IDLE, grace: float = 20.0
) -> web.AppRunner:
    """What lets the application listen. A connection that is silent for `idle` seconds is closed.

    Requests that are under way have `grace` seconds at its end.
    """
    return Runner(
        build(services, extensions),
        access_log=None,
        handle_signals=False,
        auto_decompress=False,
        keepalive_timeout=idle,
        shutdown_timeout=grace,
    )


@web.middleware
async def _answer(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every answer with its headers and one line in the log, and every error as a problem document."""
    began = time.perf_counter()
    try:
        response = await handler(request)
    except Exception as error:  # noqa: BLE001 - the last place that can tell the caller; what is unknown is logged
        response = problem_response(error, request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    # Events come in by the thousand; what else is written is worth a line.
    write = log.debug if request.method in _READING or request.path == "/v1/events" else log.info
    write(
        "request",
        method=request.method,
        path=logged_path(request),
        status=response.status,
        ms=round(1000 * (time.perf_counter() - began), 1),
    )
    return response
