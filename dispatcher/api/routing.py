"""The typed route table: one `Route` makes both what aiohttp calls and the operation in OpenAPI."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Generic, Literal, TypeVar

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct
from msgspec.structs import asdict, replace

from dispatcher.api import tenants
from dispatcher.api.auth import ANONYMOUS, authorize
from dispatcher.api.explain import explain
from dispatcher.api.http_server import WAITS
from dispatcher.api.problems import MAX_BODY, Refusal
from dispatcher.api.services import Services
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.keys import ApiKey, Scope
from dispatcher.intake.body import TooLong, UnknownEncoding, inflate

JSON = "application/json"

BODY_SECONDS = 30.0
"""How long a body may take to come in."""

Q = TypeVar("Q")
B = TypeVar("B")
A = TypeVar("A")

_encode = msgspec.json.Encoder().encode


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """For what takes no query parameters."""


class Form(Struct, frozen=True):
    """One form of a body that its handler decodes: its media type, its schema, and examples by name."""

    media_type: str
    schema: object
    examples: Mapping[str, object] = {}


class Call(Struct, Generic[Q, B], frozen=True):
    """A request as its handler sees it: who calls, with what."""

    caller: ApiKey
    services: Services
    path: Mapping[str, str]
    query: Q
    body: B
    headers: Mapping[str, str]


class Route(Struct, Generic[Q, B, A], frozen=True):
    """One operation.

    The summary and description are the handler's docstring. `scope` is what the key needs, None for no key.
    `body` is a type, or the forms that the handler decodes itself. `location` is the path of what was made,
    with fields of the answer in braces. One that `waits` ends when its caller has gone. Operators may ask
    for what other tenants have where it is `of_tenants`.
    With `names_in_body` the body has ids of things that may not be there.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handler: Callable[[Call[Q, B]], Awaitable[A]]
    scope: Scope | None
    answer: type[A] | None = None
    query: type[Q] | None = None
    body: type[B] | tuple[Form, ...] | None = None
    status: HTTPStatus = HTTPStatus.OK
    media_type: str = JSON
    location: str | None = None
    waits: bool = False
    of_tenants: bool = False
    names_in_body: bool = False


# Any: a table holds routes of all types; each was checked when it was made.
AnyRoute = Route[Any, Any, Any]

_Handler = Callable[[web.Request], Awaitable[web.Response]]


def attach(app: web.Application, routes: Iterable[AnyRoute], services: Services) -> None:
    """Let aiohttp answer these routes."""
    for route in routes:
        handler = _bound(route, services)
        if route.method == hdrs.METH_GET:
            app.router.add_get(route.path, handler)
        else:
            app.router.add_route(route.method, route.path, handler)


def _bound(route: AnyRoute, services: Services) -> _Handler:
    left_out = frozenset({tenants.PARAMETER} if route.of_tenants else ())
    read_query, read_body = _query_reader(route.query or NoQuery, left_out), _body_reader(route.body)

    async def handle(request: web.Request) -> web.Response:
        request[WAITS] = route.waits
        caller = ANONYMOUS
        if route.scope is not None:
            caller = await authorize(request.headers.get(hdrs.AUTHORIZATION), route.scope, services)
        query, body = read_query(request), await read_body(request)
        call = Call(caller, services, request.match_info, query, body, request.headers)
        if route.of_tenants:
            return _response(route, await _of_tenants(route, call, request.query.get(tenants.PARAMETER)))
        return _response(route, await route.handler(call))

    return handle


async def _of_tenants(route: AnyRoute, call: Call[Any, Any], tenant: str | None) -> object:
    """What the operation answers of the key's tenant, or of the one that is asked for."""

    def act(caller: ApiKey) -> Awaitable[object]:
        return route.handler(replace(call, caller=caller))

    stored, query = call.services.store.tenants, call.query
    if tenant is None:
        first = getattr(query, "cursor", None) is None
        return await tenants.answer_own(act, call.caller, stored, first=first)
    if tenant == tenants.EVERY_TENANT and getattr(query, "wait", None) is not None:
        raise InvalidInput(tenants.PARAMETER, "expected the name of one: a job is waited for in one tenant")
    return await tenants.answer_for(act, call.caller, tenant, stored, getattr(query, "limit", 1))


def _response(route: AnyRoute, answer: object) -> web.Response:
    if route.answer is None or answer is None:
        return web.Response(status=route.status)
    headers = {hdrs.CONTENT_TYPE: route.media_type}
    if route.location is not None and isinstance(answer, Struct):
        headers[hdrs.LOCATION] = route.location.format_map(asdict(answer))
    body = answer if isinstance(answer, bytes) else _encode(answer)
    return web.Response(status=route.status, body=body, headers=headers)


def _query_reader(expected: type[Q], left_out: frozenset[str] = frozenset()) -> Callable[[web.Request], Q]:
    empty = expected()

    def read(request: web.Request) -> Q:
        if not request.query_string:
            return empty
        parameters = dict(request.query)
        if len(parameters) != len(request.query):
            name = next(name for name in parameters if len(request.query.getall(name)) > 1)
            raise InvalidInput(name, "is given more than once")
        parameters = {name: text for name, text in parameters.items() if name not in left_out}
        try:
            return msgspec.convert(parameters, expected, strict=False)
        except msgspec.ValidationError as error:
            raise explain(error, expected, parameters) from None

    return read


def _body_reader(
    expected: type[B] | tuple[Form, ...] | None,
) -> Callable[[web.Request], Awaitable[B | bytes | None]]:
    if expected is None:
        return _no_body
    if isinstance(expected, tuple):
        return raw_body
    decode = msgspec.json.Decoder(expected).decode

    async def read(request: web.Request) -> B:
        body = (await raw_body(request)).removeprefix(BOM_UTF8)
        if body:
            _check_media_type(request)
        try:
            return decode(body or b"{}")
        except msgspec.ValidationError as error:
            raise explain(error, expected, _untyped(body)) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput("", f"expected valid JSON in UTF-8: {error}") from None
        except RecursionError:
            raise InvalidInput("", "the JSON is nested too deeply") from None

    return read


def asked_at(request: web.Request) -> str:
    """Scheme, host and port that a request names. Raises Refusal when its Host header is none."""
    try:
        return str(request.url.origin())
    except ValueError:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, f"Host: expected a host, perhaps with a port, got {request.host[:80]!a}"
        ) from None


async def _no_body(request: web.Request) -> None:
    return None


async def raw_body(request: web.Request) -> bytes:
    """The body of a request, inflated. Raises Refusal when it is encoded otherwise, too long or too slow.

    Raises InvalidInput when it is not what its encoding says.
    """
    if request.content_length is not None and request.content_length > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY, request.content_length)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
    except TimeoutError:
        raise Refusal(
            HTTPStatus.REQUEST_TIMEOUT, f"the body took too long: expected it within {BODY_SECONDS:g} s"
        ) from None
    encodings = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, ()))
    return _inflated(body, encodings) if encodings else body


def _inflated(body: bytes, encodings: str) -> bytes:
    try:
        return inflate(body, encodings, MAX_BODY)
    except TooLong as error:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Content-Encoding: {error.problem}") from None
    except UnknownEncoding as error:
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding: {error.problem}") from None


def _check_media_type(request: web.Request) -> None:
    if request.content_type != JSON:
        got = request.headers.get(hdrs.CONTENT_TYPE, "none")[:80]
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type: expected {JSON}, got {got}")


def _untyped(body: bytes) -> object:
    """The body without a type, for an error to look at; None when something else in it is wrong too."""
    try:
        return msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
