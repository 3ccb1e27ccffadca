"""The HTTP server below the application: what is no HTTP gets a problem document, and one line in the log at debug."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import msgspec
import structlog
from aiohttp import HttpVersion11, hdrs, web

from dispatcher.api.problem_types import type_of
from dispatcher.api.problems import MEDIA_TYPE, Problem
from dispatcher.telemetry.log_limit import LogLimit

log = structlog.get_logger("dispatcher.api")

MALFORMED_INTERVAL = 1.0
"""Seconds between two lines about malformed requests."""

WAITS = web.RequestKey("waits", bool)
"""Whether a request only waits: its handler ends when the connection is lost."""

_MAX_DETAIL = 200

_limit = LogLimit(MALFORMED_INTERVAL)


class Runner(web.AppRunner):
    """aiohttp's runner with a server of ours."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        arguments = made._kwargs | {"loop": made._loop}  # noqa: SLF001 - it has no other way to give them on
        handle = partial(_handle_expected, made.request_handler)
        return _Server(handle, request_factory=made.request_factory, **arguments)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End a request that waits. Others go on: what is half done is finished."""
        request, task = self._current_request, self._task_handler
        super().connection_lost(exc)
        if task is not None and isinstance(request, web.Request) and request.get(WAITS):
            task.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what could not be read as a request, or was not handled."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request failed", remote=request.remote, exc_info=exc)
            return _problem(HTTPStatus(status), "internal server error; see the log of the server")
        return _malformed(request, HTTPStatus(status), _line(message or str(exc)))


async def _handle_expected(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], request: web.BaseRequest
) -> web.StreamResponse:
    """Handle a request that expects nothing, or what there is: 100-continue."""
    expected = request.headers.get(hdrs.EXPECT)
    if expected is None or request.version != HttpVersion11 or expected.lower() == "100-continue":
        return await handle(request)
    problem = f"Expect: expected 100-continue, got {_line(expected)}"
    return _malformed(request, HTTPStatus.EXPECTATION_FAILED, problem)


def _malformed(request: web.BaseRequest, status: HTTPStatus, problem: str) -> web.Response:
    if (left_out := _limit.allows("malformed")) is not None:
        log.debug("malformed request", remote=request.remote, problem=problem, more=left_out)
    return _problem(status, f"the request is not HTTP as it should be: {problem}")


def _problem(status: HTTPStatus, detail: str) -> web.Response:
    problem = Problem(
        type=type_of(status).uri, title=status.phrase, status=status, detail=detail, instance="", errors=()
    )
    response = web.Response(status=status, body=msgspec.json.encode(problem), content_type=MEDIA_TYPE)
    response.force_close()
    return response


def _line(message: str) -> str:
    """One line that can be printed: the parser shows the bytes that it could not read on further ones."""
    first = message.strip().partition("\n")[0].rstrip(": ")
    return "".join(char if char.isprintable() else "?" for char in first)[:_MAX_DETAIL]
