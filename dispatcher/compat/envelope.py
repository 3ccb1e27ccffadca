"""Requests and responses of other systems' interfaces: each system has an envelope around every result and error."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Generic, Protocol, TypeVar

from aiohttp import hdrs, web
from msgspec import Struct

from dispatcher.api.problems import Refusal
from dispatcher.api.routing import raw_body
from dispatcher.api.services import Services
from dispatcher.domain.errors import InvalidInput

C = TypeVar("C")
R = TypeVar("R")
Read_co = TypeVar("Read_co", covariant=True)

_WITH_BODY = frozenset({hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH})


class CompatRequest(Struct, Generic[C], frozen=True, kw_only=True):
    """A request as its handler sees it.

    `base` is where people reach the service: scheme and host. `url_path` is the path that was asked for, `path` its
    named parts.
    """

    caller: C
    services: Services
    method: str
    base: str
    url_path: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class CompatResponse(Struct, frozen=True):
    """What a handler returns. A `conditional` one carries an ETag; a caller who has it already gets no body."""

    result: object = None
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = {}
    conditional: bool = False
    message: str | None = None
    metadata: object = None


class Envelope(Protocol[Read_co]):
    """How one system reads requests, and writes responses and errors."""

    async def read(self, request: web.Request) -> Read_co:
        """The request of a caller who may make it. Raises Refusal, Forbidden and InvalidInput."""
        ...

    def write(self, request: web.Request, response: CompatResponse) -> web.Response:
        """The response in its envelope."""
        ...

    def refuse(self, request: web.Request, error: Exception) -> web.Response:
        """An error in its envelope; what is unknown is logged."""
        ...


def envelope_handler(
    act: Callable[[R], Awaitable[CompatResponse]], envelope: Envelope[R]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """What aiohttp calls for a handler."""

    async def handle(request: web.Request) -> web.Response:
        try:
            return envelope.write(request, await act(await envelope.read(request)))
        except Exception as error:  # noqa: BLE001 - every error has this envelope; what is unknown is logged
            return envelope.refuse(request, error)

    return handle


def check_method(method: str, url_path: str, routes: Iterable[tuple[str, str]]) -> None:
    """Raise Refusal (405) when one of these routes, methods with paths, has this path with another method."""
    allowed = sorted({possible for possible, path in routes if _pattern(path).fullmatch(url_path)})
    if allowed:
        detail = f"{method} is not possible here; possible are {', '.join(allowed)}"
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": ", ".join(allowed)})


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{[A-Za-z]+\}", "[^/]+", path) + "/?")


def check_query(request: web.Request) -> None:
    """Raise InvalidInput when a parameter of the query is given more than once."""
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise InvalidInput(name[:80], "is given more than once")


async def body_of(request: web.Request) -> bytes:
    """The body of a request whose method has one. Raises what `raw_body` does."""
    return await raw_body(request) if request.method in _WITH_BODY else b""
