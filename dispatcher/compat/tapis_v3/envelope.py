"""How Tapis v3 answers: one envelope around every result and every error, and what a request holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct

from dispatcher import __version__
from dispatcher.api.explain import explain
from dispatcher.api.problems import refusal_of
from dispatcher.api.routing import asked_at, raw_body
from dispatcher.api.services import Services
from dispatcher.compat.tapis_v3.callers import Caller, caller_of
from dispatcher.compat.tapis_v3.jwt import Tokens
from dispatcher.domain.errors import Forbidden, InvalidInput
from dispatcher.domain.keys import Scope
from dispatcher.intake.raw_message import Message
from dispatcher.intake.repair import repaired

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class Asked(Struct, frozen=True, kw_only=True):
    """A request as its handler sees it. `base` is where the service answers (scheme and host)."""

    caller: Caller
    services: Services
    base: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def read(self, expected: type[T]) -> T:
        """The body as this type. Raises InvalidInput that names the field."""
        return read_json(self.body, expected)


class Answered(Struct, frozen=True, kw_only=True):
    """What a handler answers."""

    message: str
    result: object = None
    metadata: object = None
    status: HTTPStatus = HTTPStatus.OK


Handler = Callable[[Asked], Awaitable[Answered]]


def enveloped(
    act: Handler, scope: Scope, services: Services, tokens: Tokens | None
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """What aiohttp calls for a handler whose callers need this scope."""

    async def handle(request: web.Request) -> web.Response:
        try:
            caller = await caller_of(request.headers, services, tokens)
            if not caller.key.may(scope):
                raise Forbidden(f"this needs a service's token, or a key with the scope {scope}")
            return answer(await act(await _asked(request, caller, services)))
        except Exception as error:  # noqa: BLE001 - every error has this shape; what is unknown is logged
            return refused(error, request)

    return handle


def answer(answered: Answered) -> web.Response:
    """The answer in its envelope."""
    return _response("success", answered)


def refused(error: Exception, request: web.Request) -> web.Response:
    """An error in the envelope. What a caller may not do is 401 in Tapis."""
    refusal = refusal_of(error, request)
    status = HTTPStatus.UNAUTHORIZED if refusal.status == HTTPStatus.FORBIDDEN else refusal.status
    response = _response("error", Answered(message=str(refusal), status=status))
    response.headers.update(refusal.headers)
    return response


def read_json(body: bytes, expected: type[T]) -> T:
    """A JSON document as this type; what is not quite JSON is read as events are. InvalidInput names the field."""
    try:
        return msgspec.json.decode(body, type=expected)
    except msgspec.ValidationError as error:
        raise explain(error, expected, _untyped(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        readable = repaired(Message(origin="http", body=body))
        if readable == body:
            raise InvalidInput("", f"expected a JSON document in UTF-8: {error}") from None
    return read_json(readable, expected)


def _untyped(body: bytes) -> object:
    """The body without a type, for an error to look at; None when something else in it is wrong too."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


async def _asked(request: web.Request, caller: Caller, services: Services) -> Asked:
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise InvalidInput(name[:80], "is given more than once")
    return Asked(
        caller=caller,
        services=services,
        base=asked_at(request),
        path=request.match_info,
        query=request.query,
        headers=request.headers,
        body=await raw_body(request) if request.method in (hdrs.METH_POST, "PUT", "PATCH") else b"",
    )


def _response(status: str, answered: Answered) -> web.Response:
    document = {
        "status": status,
        "message": answered.message,
        "version": __version__,
        "commit": "",
        "build": "",
        "result": answered.result,
        "metadata": answered.metadata,
    }
    return web.Response(status=answered.status, body=_encode(document), content_type="application/json")
